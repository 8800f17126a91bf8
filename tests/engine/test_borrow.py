"""`stagelens test` stops the engine that it has started: the last run does, where nobody else uses it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from stagelens_testing.machine import Machine

from stagelens.engine import can_start

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(can_start() is not None, reason=f"a private engine cannot start here: {can_start()}"),
]

# What `stagelens test` does; it says whether the engine is its alone, as it begins and as it ends.
RUN = """
import os
from stagelens.engine import RUNS, borrowed, connect
from stagelens_testing.held import own
with borrowed() as runs:
    os.environ[RUNS] = str(runs)
    connect().api.close()
    print(own(), flush=True)
    input()
    print(own(), flush=True)
"""
Run = subprocess.Popen[str]


@pytest.fixture
def begin(machine: Machine) -> Iterator[Callable[[], Run]]:
    """Begins a run; it has an engine when it is returned."""
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


def said(run: Run) -> str:
    assert run.stdout is not None
    return run.stdout.readline().strip()


def end(run: Run) -> str:
    return run.communicate("\n")[0].strip()


def test_the_engine_of_a_run_is_its_alone_and_ends_with_it(
    machine: Machine, begin: Callable[[], Run]
) -> None:
    run = begin()
    assert said(run) == "True"
    assert end(run) == "True"
    assert machine.private.pid() is None


def test_the_last_of_two_runs_stops_it(machine: Machine, begin: Callable[[], Run]) -> None:
    both = [begin(), begin()]
    for run in both:
        said(run)
    pid = machine.private.pid()
    assert end(both[0]) == "False"
    assert (machine.private.pid(), pid is None) == (pid, False)
    assert end(both[1]) == "False"
    assert machine.private.pid() is None


def test_an_engine_that_ran_before_goes_on(machine: Machine, begin: Callable[[], Run]) -> None:
    machine.stagelens("engine", "start")
    run = begin()
    assert said(run) == "False"
    end(run)
    assert machine.private.pid() is not None


@pytest.mark.parametrize("command", ["status", "engine start"])
def test_an_engine_that_a_person_comes_to_use_goes_on(
    machine: Machine, begin: Callable[[], Run], command: str
) -> None:
    run = begin()
    assert said(run) == "True"
    machine.stagelens(*command.split())
    assert end(run) == "False"
    assert machine.private.pid() is not None


def test_the_next_run_stops_what_a_killed_one_started(machine: Machine, begin: Callable[[], Run]) -> None:
    killed, after = begin(), begin()
    said(killed)
    said(after)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    end(after)
    assert machine.private.pid() is None
