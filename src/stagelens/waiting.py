"""Waiting for what comes or goes in a moment."""

from __future__ import annotations

import time
from collections.abc import Generator


def tries(seconds: float, pause: float) -> Generator[None]:
    """Turns of a loop that looks again, with a pause after each (in seconds), for `seconds` at least.

    They are counted: where the machine stands still, a clock goes on, and there would be one look.
    """
    for _ in range(round(seconds / pause)):
        yield
        time.sleep(pause)
