"""End a command on a signal: Ctrl-C, a supervisor's SIGTERM, or SIGHUP from a closed terminal."""

from __future__ import annotations

import _thread
import math
import os
import signal
import sys
import threading
import time
from types import FrameType

from stagelens import timeouts
from stagelens.concurrency import TERMINATION_SIGNALS

_RESEND_SECONDS = 0.05


class TerminationHandler:
    """A signal handler that ends a command through all of its cleanup.

    A second signal does not disturb the cleanup, unless it comes `Timeouts.force_quit` later.
    """

    def __init__(self) -> None:
        self._received_at = -math.inf
        self._number = 0
        self._finished = False

    def install(self) -> None:
        """Handle the signals from now on, except those that the parent process ignores (`nohup`)."""
        for number in TERMINATION_SIGNALS:
            # `__main__` has installed another handler of Ctrl-C for the time of the imports.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        sys.unraisablehook = self._handle_unraisable

    def finish(self) -> None:
        """Stop raising exceptions: Python exits now, and would only print them."""
        self._received_at, self._finished = time.monotonic(), True

    def _handle(self, number: int, _: FrameType | None) -> None:
        if time.monotonic() - self._received_at < timeouts.current.force_quit:
            return
        self._received_at, self._number = time.monotonic(), number
        if self._finished:
            os._exit(128 + number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    def _handle_unraisable(self, lost: sys.UnraisableHookArgs) -> None:
        """Send the signal again if its exception was dropped, for example in a weak reference's callback."""
        if not isinstance(lost.exc_value, KeyboardInterrupt | SystemExit):
            sys.__unraisablehook__(lost)
            return
        self._received_at = -math.inf
        # Later, since an exception in here is dropped, too. A plain thread, since threading may hold locks.
        _thread.start_new_thread(_send_signal, (self._number,))


def _send_signal(number: int) -> None:
    time.sleep(_RESEND_SECONDS)
    if sys.platform == "win32":
        signal.raise_signal(number)
    elif (main := threading.main_thread().ident) is not None:
        # A signal to the thread also interrupts its system calls.
        signal.pthread_kill(main, number)
