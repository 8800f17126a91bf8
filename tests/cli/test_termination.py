"""A command that gets a signal cleans up once, whenever it comes, and exits with the signal's code."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = """
import os, signal, sys, time, weakref
import stagelens.cli as cli
from stagelens import timeouts

def send(*numbers):
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
def test_signal_cleans_up_and_sets_the_exit_code(number: int) -> None:
    assert run(f"send({number})") == (128 + number, "clean\n", "")


@pytest.mark.parametrize("second", [INT, TERM, HUP])
def test_second_signal_does_not_disturb_the_cleanup(second: int) -> None:
    assert run(f"send({INT})", f"send({second})") == (130, "clean\n", "")


def test_later_signal_ends_a_hanging_cleanup() -> None:
    clean = f"timeouts.current = timeouts.Timeouts(force_quit=0); send({INT}); time.sleep(20)"
    assert run(f"send({INT})", clean) == (130, "", "")


def test_later_signal_ends_a_hanging_interpreter_exit() -> None:
    late = f"atexit.register(lambda: (time.sleep(0.01), send({INT}), time.sleep(20)))"
    setting = "import atexit; timeouts.current = timeouts.Timeouts(force_quit=0); "
    assert run(f"{setting}{late}; send({TERM})") == (130, "clean\n", "")


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_dropped_exception_is_raised_again(number: int) -> None:
    """Python drops exceptions in a weak reference's callback, which docker-py has."""
    callback = f"r = weakref.ref(X(), lambda _: send({number}))"
    assert run(callback, before="class X: pass\n") == (128 + number, "clean\n", "")


def test_other_dropped_exceptions_are_still_printed() -> None:
    code, out, errors = run(f"r = weakref.ref(X(), lambda _: 1 / 0); send({INT})", before="class X: pass\n")
    assert (code, out) == (130, "clean\n")
    assert "ZeroDivisionError" in errors


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_ignored_signals_stay_ignored(number: int) -> None:
    """`nohup` ignores SIGHUP, and a script's background command ignores SIGINT."""
    before = f"import signal; signal.signal({number}, signal.SIG_IGN)\n"
    other = TERM if number != TERM else HUP
    assert run(f"send({number}); print('goes on'); send({other})", before=before) == (
        128 + other,
        "goes on\nclean\n",
        "",
    )
