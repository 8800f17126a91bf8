"""Work that has to be done whole, or undone, whatever tells us to end meanwhile."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, TypeVar

_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
Calls = SimpleQueue[Callable[[], object]]
T = TypeVar("T")
_Handler = Callable[[int, FrameType | None], object]


@contextmanager
def uninterrupted() -> Generator[None]:
    """Hold Ctrl-C, SIGTERM and a terminal's end back until the block is through; a second one is not held.

    For a call to the engine, which goes on with what it was asked for also where nobody waits any more: what
    it makes then would come after its removal. Python hears signals in the main thread alone, so in another
    one there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, _Handler | signal.Handlers] = {}
    held: list[tuple[int, FrameType | None]] = []

    def deliver(number: int, frame: FrameType | None) -> None:
        handler = handlers[number]
        if callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, handler)
            signal.raise_signal(number)

    def hold(number: int, frame: FrameType | None) -> None:
        if held:
            deliver(number, frame)
        held.append((number, frame))

    for number in _ENDING:
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


def attended(work: Callable[[], T], calls: Calls, cancel: Callable[[], object]) -> T:
    """Do the work in a thread, so that no interrupt tears a request to the engine; calls are made in ours.

    Whatever ends the waiting also ends the work by `cancel`, which first cleans up.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="stagelens-attended") as pool:
        try:
            # An interrupt within could leave a thread at work that nobody knows of.
            with uninterrupted():
                job = pool.submit(work)
            job.add_done_callback(lambda _: calls.put(_nothing))
            _serve(calls, job)
            return job.result()
        except BaseException:
            cancel()
            with uninterrupted():
                pool.shutdown()
            raise


def _nothing() -> None:
    """Wakes whoever waits for a call."""


def _serve(calls: Calls, job: Future[Any]) -> None:
    while not (job.done() and calls.empty()):
        try:
            calls.get(timeout=0.1)()
        except Empty:
            continue
