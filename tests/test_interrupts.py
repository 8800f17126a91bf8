"""What must be done whole is, whichever way we are told to end meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from stagelens_testing.held import nothing_new, threads

from stagelens import interrupts
from stagelens.interrupts import Call, attended, through, uninterrupted

SECONDS = 20


@pytest.fixture(autouse=True)
def _as_on_a_terminal() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_comes_after_the_block() -> None:
    done: list[str] = []

    def block() -> None:
        with uninterrupted():
            interrupt()
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_is_pressed_twice_is_meant_once() -> None:
    done: list[str] = []

    def block() -> None:
        with uninterrupted():
            interrupt()
            interrupt()
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["the rest"]


def test_one_that_is_pressed_again_later_ends_a_block_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "ONCE_SECONDS", 0.0)

    def block() -> None:
        with uninterrupted():
            interrupt()
            interrupt()
            pytest.fail("it was not heard")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_closed_terminal_waits_too_and_keeps_what_its_handler_sets() -> None:
    told: list[int] = []

    def end(number: int, _: object) -> None:
        told.append(number)
        signal.signal(number, signal.SIG_IGN)

    before = signal.signal(signal.SIGHUP, end)
    try:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGHUP)
            assert told == []
        assert told == [signal.SIGHUP]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_block_that_fails_says_so_where_nothing_interrupts_it() -> None:
    with pytest.raises(ValueError, match="theirs"), uninterrupted():
        raise ValueError("theirs")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted():
        interrupt()
        interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_another_thread_has_nothing_to_hold() -> None:
    seen: list[object] = []

    def work() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


class Stopped(Exception):
    """What work ends with when it is cancelled."""


class Work:
    """Work that goes on until it is cancelled, and then cleans up; it says what it does by `tell`."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.cleaned = False

    def __call__(self, tell: Callable[[str], object]) -> str:
        tell("working")
        assert self._stop.wait(SECONDS)
        tell("cleaning")
        self.cleaned = True
        raise Stopped

    def stop(self) -> None:
        self._stop.set()


def test_an_interrupt_cancels_work_and_comes_when_that_has_cleaned_up() -> None:
    work = Work()
    with nothing_new(threads), pytest.raises(KeyboardInterrupt):
        attended(lambda call: work(through(call, lambda _: interrupt())), work.stop)
    assert work.cleaned


def test_a_second_interrupt_does_not_disturb_its_cleaning_up() -> None:
    work = Work()

    def stop() -> None:
        interrupt()
        work.stop()
        interrupt()

    with nothing_new(threads), pytest.raises(KeyboardInterrupt):
        attended(lambda call: work(through(call, lambda _: interrupt())), stop)
    assert work.cleaned


def test_callbacks_are_called_in_the_waiting_thread_and_what_they_raise_cancels_the_work() -> None:
    work = Work()
    seen: list[threading.Thread] = []

    def told(_: str) -> None:
        seen.append(threading.current_thread())
        raise ValueError("theirs")

    with pytest.raises(ValueError, match="theirs"):
        attended(lambda call: work(through(call, told)), work.stop)
    assert seen == [threading.main_thread()]
    assert work.cleaned


def test_work_that_ends_by_itself_is_not_cancelled() -> None:
    cancelled: list[None] = []

    def fail(_: Call) -> None:
        raise Stopped

    assert attended(lambda _: "done", lambda: cancelled.append(None)) == "done"
    with pytest.raises(Stopped):
        attended(fail, lambda: cancelled.append(None))
    assert cancelled == []


def test_in_another_thread_the_work_is_just_done() -> None:
    seen: list[object] = []

    def work(call: Call) -> None:
        through(call, seen.append)(threading.current_thread())

    thread = threading.Thread(target=lambda: attended(work, lambda: None))
    thread.start()
    thread.join()
    assert seen == [thread]
