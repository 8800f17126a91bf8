"""Deferred signals, cancellable work and polling."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from stagelens_testing.resources import no_leaks, threads

from stagelens.concurrency import CallbackRelay, defer_signals, run_cancellable

SECONDS = 20


@pytest.fixture(autouse=True)
def _terminal_sigint_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_interrupt_is_delivered_after_the_block() -> None:
    done: list[str] = []

    def block() -> None:
        with defer_signals():
            interrupt()
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_double_press_is_delivered_once() -> None:
    done: list[str] = []

    def block() -> None:
        with defer_signals():
            interrupt()
            interrupt()
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["the rest"]


def test_later_second_interrupt_is_delivered_inside_the_block(set_timeouts: Callable[..., None]) -> None:
    set_timeouts(force_quit=0.0)

    def block() -> None:
        with defer_signals():
            interrupt()
            interrupt()
            pytest.fail("the second interrupt was not delivered")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sighup_is_deferred_and_its_handler_may_install_another() -> None:
    delivered: list[int] = []

    def end(number: int, _: object) -> None:
        delivered.append(number)
        signal.signal(number, signal.SIG_IGN)

    before = signal.signal(signal.SIGHUP, end)
    try:
        with defer_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert delivered == []
        assert delivered == [signal.SIGHUP]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_error_in_the_block_is_raised() -> None:
    with pytest.raises(ValueError, match="theirs"), defer_signals():
        raise ValueError("theirs")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with defer_signals():
        interrupt()
        interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_defer_signals_does_nothing_in_another_thread() -> None:
    seen: list[object] = []

    def work() -> None:
        with defer_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


class Stopped(Exception):
    """Raised by cancelled work."""


class Work:
    """Work that runs until it is cancelled, then cleans up, and reports both steps."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.cleaned = False

    def __call__(self, report: Callable[[str], object]) -> str:
        report("working")
        assert self._stop.wait(SECONDS)
        report("cleaning")
        self.cleaned = True
        raise Stopped

    def stop(self) -> None:
        self._stop.set()


def test_interrupt_cancels_work_and_is_raised_after_its_cleanup() -> None:
    work = Work()
    with no_leaks(threads), pytest.raises(KeyboardInterrupt):
        run_cancellable(lambda relay: work(relay.wrap(lambda _: interrupt())), work.stop)
    assert work.cleaned


def test_second_interrupt_does_not_disturb_the_cleanup() -> None:
    work = Work()

    def stop() -> None:
        interrupt()
        work.stop()
        interrupt()

    with no_leaks(threads), pytest.raises(KeyboardInterrupt):
        run_cancellable(lambda relay: work(relay.wrap(lambda _: interrupt())), stop)
    assert work.cleaned


def test_callback_runs_in_the_waiting_thread_and_its_error_cancels_the_work() -> None:
    work = Work()
    seen: list[threading.Thread] = []

    def callback(_: str) -> None:
        seen.append(threading.current_thread())
        raise ValueError("theirs")

    with pytest.raises(ValueError, match="theirs"):
        run_cancellable(lambda relay: work(relay.wrap(callback)), work.stop)
    assert seen == [threading.main_thread()]
    assert work.cleaned


def test_finished_work_is_not_cancelled() -> None:
    cancelled: list[None] = []

    def fail(_: CallbackRelay) -> None:
        raise Stopped

    assert run_cancellable(lambda _: "done", lambda: cancelled.append(None)) == "done"
    with pytest.raises(Stopped):
        run_cancellable(fail, lambda: cancelled.append(None))
    assert cancelled == []


def test_outside_the_main_thread_work_runs_in_the_calling_thread() -> None:
    seen: list[object] = []

    def work(relay: CallbackRelay) -> None:
        relay.wrap(seen.append)(threading.current_thread())

    thread = threading.Thread(target=lambda: run_cancellable(work, lambda: None))
    thread.start()
    thread.join()
    assert seen == [thread]
