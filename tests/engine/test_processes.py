"""The processes of an engine, as this machine's kernel has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stagelens.engine import processes

# Threads that begin others, all the time.
BUSY = """
import threading, time

def begin():
    while True:
        thread = threading.Thread(target=time.sleep, args=(0.005,))
        thread.start()
        thread.join()

for _ in range(4):
    threading.Thread(target=begin, daemon=True).start()
print("begun", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="cores are given to threads as Linux does it")
def test_a_program_keeps_to_the_cores_it_is_given_with_all_its_threads() -> None:
    one, all_ = {min(os.sched_getaffinity(0))}, os.sched_getaffinity(0)
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        for cores in (one, all_):
            processes.keep_to([program.pid], cores)
            threads = [int(path.name) for path in Path(f"/proc/{program.pid}/task").iterdir()]
            assert len(threads) > 4
            assert [has for thread in threads if (has := _cores(thread)) not in (None, cores)] == []
        program.kill()


def test_a_program_that_has_ended_and_cores_that_are_not_there_are_passed_over() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
        processes.keep_to([ended.pid], {0})
    processes.keep_to([os.getpid()], {4095})


def _cores(thread: int) -> set[int] | None:
    try:
        return os.sched_getaffinity(thread)
    except ProcessLookupError:
        return None
