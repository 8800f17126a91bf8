"""How a command is told to end: by Ctrl-C, by a supervisor's SIGTERM, by a terminal that was closed."""

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

_AGAIN_SECONDS = 0.05


class Ending:
    """Each of them leaves a command by way of everything that cleans up.

    A second one does not disturb that, but for one that comes `Timeouts.force_quit` later.
    """

    def __init__(self) -> None:
        self._heard = -math.inf
        self._number = 0
        self._over = False

    def hear(self) -> None:
        """Hear them from now on, but for those that we were started to ignore (`nohup`)."""
        for number in TERMINATION_SIGNALS:
            # stagelens has another handler of Ctrl-C in place while this is imported.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._end)
        sys.unraisablehook = self._lost

    def over(self) -> None:
        """Python itself ends now: whatever we raised, it would only complain of."""
        self._heard, self._over = time.monotonic(), True

    def _end(self, number: int, _: FrameType | None) -> None:
        if time.monotonic() - self._heard < timeouts.current.force_quit:
            return
        self._heard, self._number = time.monotonic(), number
        if self._over:
            os._exit(128 + number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    def _lost(self, lost: sys.UnraisableHookArgs) -> None:
        """Raise once more what nobody could catch: it came in a weak reference's callback, say."""
        if not isinstance(lost.exc_value, KeyboardInterrupt | SystemExit):
            sys.__unraisablehook__(lost)
            return
        self._heard = -math.inf
        # Later, since whatever is raised in here is lost as well; and threading's own locks may be held.
        _thread.start_new_thread(_signal, (self._number,))


def _signal(number: int) -> None:
    time.sleep(_AGAIN_SECONDS)
    if sys.platform == "win32":
        signal.raise_signal(number)
    elif (main := threading.main_thread().ident) is not None:
        # It may be waiting for the system, from which this wakes it.
        signal.pthread_kill(main, number)
