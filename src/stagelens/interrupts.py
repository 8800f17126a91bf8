"""Short work that has to be done whole, whatever tells us to end meanwhile."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
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
