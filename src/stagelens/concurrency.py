"""Cancellable work, deferred signals and polling."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from stagelens import timeouts

TERMINATION_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
T = TypeVar("T")
P = ParamSpec("P")
_Handler = Callable[[int, FrameType | None], object]


@contextmanager
def defer_signals() -> Generator[None]:
    """Defer Ctrl-C, SIGTERM and SIGHUP until the block ends.

    A signal that follows the first one after more than `Timeouts.force_quit` is delivered at once.

    Use this around a request to the engine: the engine finishes the request even if its caller has gone, so
    what the request creates would appear after the clean-up. Python delivers signals to the main thread only;
    in another thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, _Handler | signal.Handlers] = {}
    deferred: list[tuple[int, FrameType | None]] = []
    since = 0.0

    def deliver(number: int, frame: FrameType | None) -> None:
        handler = handlers[number]
        if callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, handler)
            signal.raise_signal(number)

    def defer(number: int, frame: FrameType | None) -> None:
        nonlocal since
        if not deferred:
            since = time.monotonic()
            deferred.append((number, frame))
        elif time.monotonic() - since > timeouts.current.force_quit:
            deliver(number, frame)

    for number in TERMINATION_SIGNALS:
        handler = signal.getsignal(number)
        # A notebook kernel has no SIGTERM handler; Jupyter sends SIGTERM some time before SIGKILL.
        if callable(handler) or handler is signal.SIG_DFL:
            handlers[number] = handler
    try:
        for number in handlers:
            signal.signal(number, defer)
        yield
    finally:
        for number, handler in handlers.items():
            # The handler of a forced signal may have installed another one.
            if signal.getsignal(number) is defer:
                signal.signal(number, handler)
        if deferred:
            deliver(*deferred[0])


class CallbackRelay:
    """Passes a worker thread's callbacks to the thread that waits for the worker.

    Parameters
    ----------
    send
        Takes each call; `run_cancellable` decides where it runs.
    """

    def __init__(self, send: Callable[[Callable[[], object]], object]) -> None:
        self._send = send

    def wrap(self, callback: Callable[P, object] | None) -> Callable[P, None]:
        """Return a function that has `callback` called in the waiting thread, and does not wait for it.

        Parameters
        ----------
        callback
            The caller's function; with None the returned function does nothing.

        Returns
        -------
        Callable
            A function with the parameters of `callback`.
        """

        def relayed(*args: P.args, **kwargs: P.kwargs) -> None:
            if callback is not None:
                self._send(partial(callback, *args, **kwargs))

        return relayed


def run_cancellable(work: Callable[[CallbackRelay], T], cancel: Callable[[], object]) -> T:
    """Run `work` in a thread, so that no interrupt breaks a request to the engine halfway.

    Whatever ends the waiting, Ctrl-C or a callback that raises, calls `cancel` and waits until `work` has
    cleaned up. Outside the main thread no interrupt arrives: there `work` runs in the calling thread.

    Parameters
    ----------
    work
        The work. Its argument wraps callbacks that must run in the calling thread.
    cancel
        Asks the work to end soon.

    Returns
    -------
    T
        What `work` returned.

    Raises
    ------
    BaseException
        Whatever `work` or a callback raised, and KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        return work(CallbackRelay(_call))
    calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
    job: Future[T] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="stagelens-work") as pool:
        try:
            # An interrupt inside submit() could leave a running thread without a future.
            with defer_signals():
                job = pool.submit(work, CallbackRelay(calls.put))
            job.add_done_callback(lambda _: calls.put(_wake))
            _run_callbacks(calls, job)
            return job.result()
        except BaseException:
            with defer_signals():
                if job is None or not job.done():
                    cancel()
                pool.shutdown()
            raise


def poll(seconds: float, interval: float) -> Generator[None]:
    """Yield once per attempt of a loop that waits for a condition, and sleep after each attempt.

    Attempts are counted. On a machine that stalls, a deadline by the clock could pass after a single attempt.

    Parameters
    ----------
    seconds
        How long to go on, at least.
    interval
        Seconds between two attempts.
    """
    for _ in range(round(seconds / interval)):
        yield
        time.sleep(interval)


def _call(call: Callable[[], object]) -> None:
    call()


def _wake() -> None:
    """Wake the waiting thread when the work is done."""


def _run_callbacks(calls: SimpleQueue[Callable[[], object]], job: Future[Any]) -> None:
    while not (job.done() and calls.empty()):
        try:
            calls.get(timeout=0.1)()
        except Empty:
            continue
