"""What must be done whole is, whichever way we are told to end meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from stagelens.interrupts import uninterrupted


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


def test_a_second_interrupt_ends_a_block_that_hangs() -> None:
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
