"""`stagelens test` stops the engine that it started: the last run does, if nobody else uses the engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from stagelens_testing.machine import Machine

from stagelens.engine import start_blocker

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        start_blocker() is not None, reason=f"a private engine cannot start here: {start_blocker()}"
    ),
]

# What `stagelens test` does. At the start and at the end it prints whether the engine is exclusive to it.
RUN = """
import os
from stagelens.engine import LEASE_VARIABLE, lease, connect
from stagelens_testing.resources import engine_is_exclusive
with lease() as runs:
    os.environ[LEASE_VARIABLE] = str(runs)
    connect().api.close()
    print(engine_is_exclusive(), flush=True)
    input()
    print(engine_is_exclusive(), flush=True)
"""
Run = subprocess.Popen[str]


@pytest.fixture
def begin(machine: Machine) -> Iterator[Callable[[], Run]]:
    """Return a function that starts a run with an engine."""
    started: list[Run] = []

    def begin() -> Run:
        run = subprocess.Popen(
            [*machine.inside, sys.executable, "-c", RUN],
            env=machine.environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(run)
        return run

    yield begin
    for run in started:
        run.kill()
        run.communicate()


def read_line(run: Run) -> str:
    assert run.stdout is not None
    return run.stdout.readline().strip()


def end(run: Run) -> str:
    return run.communicate("\n")[0].strip()


def test_single_run_has_the_engine_to_itself_and_stops_it(machine: Machine, begin: Callable[[], Run]) -> None:
    run = begin()
    assert read_line(run) == "True"
    assert end(run) == "True"
    assert machine.private.pid() is None


def test_last_of_two_runs_stops_the_engine(machine: Machine, begin: Callable[[], Run]) -> None:
    both = [begin(), begin()]
    for run in both:
        read_line(run)
    pid = machine.private.pid()
    assert end(both[0]) == "False"
    assert (machine.private.pid(), pid is None) == (pid, False)
    assert end(both[1]) == "False"
    assert machine.private.pid() is None


def test_engine_that_ran_before_is_not_stopped(machine: Machine, begin: Callable[[], Run]) -> None:
    machine.stagelens("engine", "start")
    run = begin()
    assert read_line(run) == "False"
    end(run)
    assert machine.private.pid() is not None


@pytest.mark.parametrize("command", ["status", "engine start"])
def test_engine_that_a_person_uses_is_not_stopped(
    machine: Machine, begin: Callable[[], Run], command: str
) -> None:
    run = begin()
    assert read_line(run) == "True"
    machine.stagelens(*command.split())
    assert end(run) == "False"
    assert machine.private.pid() is not None


def test_next_run_stops_the_engine_of_a_killed_run(machine: Machine, begin: Callable[[], Run]) -> None:
    killed, after = begin(), begin()
    read_line(killed)
    read_line(after)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    end(after)
    assert machine.private.pid() is None
