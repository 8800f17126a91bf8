"""Work that has to be done whole, or undone, whatever tells us to end meanwhile."""

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

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# Who presses Ctrl-C twice means it once. Whoever waits longer than this wants out of a clean-up that hangs.
ONCE_SECONDS = 10.0
Call = Callable[[Callable[[], object]], None]
T = TypeVar("T")
P = ParamSpec("P")
_Handler = Callable[[int, FrameType | None], object]


@contextmanager
def uninterrupted() -> Generator[None]:
    """Hold Ctrl-C, SIGTERM and a terminal's end back until the block is through.

    One that comes ONCE_SECONDS after the first is not held.

    For a call to the engine, which goes on with what it was asked for also where nobody waits any more: what
    it makes then would come after its removal. Python hears signals in the main thread alone, so in another
    one there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, _Handler | signal.Handlers] = {}
    held: list[tuple[int, FrameType | None]] = []
    since = 0.0

    def deliver(number: int, frame: FrameType | None) -> None:
        handler = handlers[number]
        if callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, handler)
            signal.raise_signal(number)

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal since
        if not held:
            since = time.monotonic()
            held.append((number, frame))
        elif time.monotonic() - since > ONCE_SECONDS:
            deliver(number, frame)

    for number in ENDING:
        handler = signal.getsignal(number)
        # A notebook's kernel has no handler of SIGTERM, which Jupyter sends half-way before it kills.
        if callable(handler) or handler is signal.SIG_DFL:
            handlers[number] = handler
    try:
        for number in handlers:
            signal.signal(number, hold)
        yield
    finally:
        for number, handler in handlers.items():
            # The second one's handler may have set another.
            if signal.getsignal(number) is hold:
                signal.signal(number, handler)
        if held:
            deliver(*held[0])


def attended(work: Callable[[Call], T], cancel: Callable[[], object]) -> T:
    """Do the work in a thread, so that no interrupt tears a request to the engine.

    The work is given a function that takes what is to be called in our thread: see `through`.
    Whatever ends the waiting also ends the work by `cancel`, and waits until it has cleaned up. In another
    thread than the main one no interrupt comes: there the work is just done.
    """
    if threading.current_thread() is not threading.main_thread():
        return work(_call)
    calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
    job: Future[T] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="stagelens-attended") as pool:
        try:
            # An interrupt within could leave a thread at work that nobody knows of.
            with uninterrupted():
                job = pool.submit(work, calls.put)
            job.add_done_callback(lambda _: calls.put(_nothing))
            _serve(calls, job)
            return job.result()
        except BaseException:
            with uninterrupted():
                if job is None or not job.done():
                    cancel()
                pool.shutdown()
            raise


def through(call: Call, callback: Callable[P, object] | None) -> Callable[P, None]:
    """A caller's callback, if there is one, to be called by way of `attended`'s function."""

    def called(*given: P.args, **named: P.kwargs) -> None:
        if callback is not None:
            call(partial(callback, *given, **named))

    return called


def _call(action: Callable[[], object]) -> None:
    action()


def _nothing() -> None:
    """Wakes whoever waits for a call."""


def _serve(calls: SimpleQueue[Callable[[], object]], job: Future[Any]) -> None:
    while not (job.done() and calls.empty()):
        try:
            calls.get(timeout=0.1)()
        except Empty:
            continue
