"""Pinning processes to cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stagelens.engine.private import processes

# Threads that constantly start others.
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


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's CPU affinity")
def test_all_threads_of_a_program_are_pinned() -> None:
    one, all_ = {min(os.sched_getaffinity(0))}, os.sched_getaffinity(0)
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        for cores in (one, all_):
            processes.pin_to_cores([program.pid], cores)
            threads = [int(path.name) for path in Path(f"/proc/{program.pid}/task").iterdir()]
            assert len(threads) > 4
            assert [has for thread in threads if (has := _cores(thread)) not in (None, cores)] == []
        program.kill()


def test_ended_program_and_missing_cores_are_ignored() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
        processes.pin_to_cores([ended.pid], {0})
    processes.pin_to_cores([os.getpid()], {4095})


def _cores(thread: int) -> set[int] | None:
    try:
        return os.sched_getaffinity(thread)
    except ProcessLookupError:
        return None
