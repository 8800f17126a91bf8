"""A command that is told to end: at whatever moment, it cleans up once, and says with what it was ended."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = """
import os, signal, sys, time, weakref
import stagelens.cli as cli
from stagelens import timeouts
from stagelens.cli import ending

def told(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)

def command(**_):
    try:
        {work}
        time.sleep(20)
    finally:
        {clean}
        print("clean")

cli.app.main = command
cli.main()
"""
INT, TERM, HUP = 2, 15, 1


def run(work: str, clean: str = "pass", before: str = "") -> tuple[int, str, str]:
    code = before + COMMAND.format(work=work, clean=clean)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_it_cleans_up_and_says_what_ended_it(number: int) -> None:
    assert run(f"told({number})") == (128 + number, "clean\n", "")


@pytest.mark.parametrize("second", [INT, TERM, HUP])
def test_a_second_signal_does_not_disturb_the_cleaning_up(second: int) -> None:
    assert run(f"told({INT})", f"told({second})") == (130, "clean\n", "")


def test_one_that_comes_later_ends_a_cleaning_up_that_hangs() -> None:
    clean = f"timeouts.current = timeouts.Timeouts(force_quit=0); told({INT}); time.sleep(20)"
    assert run(f"told({INT})", clean) == (130, "", "")


def test_one_that_comes_later_ends_a_python_that_hangs_as_it_ends() -> None:
    late = f"atexit.register(lambda: (time.sleep(0.01), told({INT}), time.sleep(20)))"
    setting = "import atexit; timeouts.current = timeouts.Timeouts(force_quit=0); "
    assert run(f"{setting}{late}; told({TERM})") == (130, "clean\n", "")


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_what_nobody_can_catch_is_raised_again(number: int) -> None:
    """In a weak reference's callback, as docker-py has one, Python drops whatever is raised."""
    callback = f"r = weakref.ref(X(), lambda _: told({number}))"
    assert run(callback, before="class X: pass\n") == (128 + number, "clean\n", "")


def test_what_else_is_lost_there_is_still_told() -> None:
    code, out, errors = run(f"r = weakref.ref(X(), lambda _: 1 / 0); told({INT})", before="class X: pass\n")
    assert (code, out) == (130, "clean\n")
    assert "ZeroDivisionError" in errors


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_what_it_was_started_to_ignore_it_ignores(number: int) -> None:
    """As with `nohup`, or in the background of a script."""
    before = f"import signal; signal.signal({number}, signal.SIG_IGN)\n"
    other = TERM if number != TERM else HUP
    assert run(f"told({number}); print('goes on'); told({other})", before=before) == (
        128 + other,
        "goes on\nclean\n",
        "",
    )
