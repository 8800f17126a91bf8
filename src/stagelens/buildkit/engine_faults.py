"""Asking an engine again for what it gave up through a fault of its own.

Nobody's Dockerfile is wrong then, and a further attempt has the finished steps from the cache. The last words
of BuildKit's error say which fault it is; what comes before them may be a learner's own command.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from stagelens.buildkit.errors import BuildCancelled, BuildError, EngineFault
from stagelens.buildkit.image_build import Cancel

# Seconds before each further attempt: what made the engine give up takes a moment to pass.
_PAUSES = (0.2, 1.0, 3.0)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Fault:
    """Last words of BuildKit, what they mean, and what helps where asking again did not."""

    words: re.Pattern[str]
    meaning: str
    remedy: str


_FAULTS = (
    # util/flightcontrol: a step that wants what another one is just through with (the resolv.conf of all
    # containers, say) tries again 13 times, in step with the others. In BuildKit 0.9 (Engine 23) it shares
    # the other one's result, and 0.14 (Engine 27) waits longer.
    _Fault(
        re.compile(r"flightcontrol: exceeded retry timeout$"),
        "it was too busy for so many steps at once",
        "build again when the machine has less to do; finished steps are kept. Engine 23 and newer do better",
    ),
    # moby/buildkit#3748: a COPY that another build waits for, too, cannot go on once that one is cancelled.
    _Fault(
        re.compile(r"duplicate output \d+$"),
        "it lost a step that it shared with a build which somebody cancelled",
        "build again; finished steps are kept",
    ),
    # A session whose health is not told has ended, for BuildKit 0.8 after ten seconds, for newer ones after a
    # minute (session/grpc.go, monitorHealth). The step that needs it next says so five seconds later.
    _Fault(
        re.compile(r"no active session for \S+: context deadline exceeded$"),
        "it lost touch with this program, which was stopped or had no time to answer",
        "build again; see to it that this machine stays awake and is not too busy",
    ),
    # A build that is steered (gateway.py) has three seconds to get its first word in (control/gateway).
    _Fault(
        re.compile(r"no such job \S+$"),
        "it was too busy to begin in time",
        "try again when the machine has less to do",
    ),
    # Between not finding the name and making it: the containerd image store has no one step for both.
    _Fault(
        re.compile(r'(?:^|: )image "[^"]*": already exists$'),
        "another build gave an image the same name at the same moment",
        "build again, or give each build a name of its own",
    ),
    # moby/buildkit#6521: the containerd image store clears an older image's layers away while the new one,
    # which shares them, is unpacked. BuildKit 0.29 holds on to them (moby/buildkit#6558).
    _Fault(
        re.compile(r"parent snapshot \S+ does not exist: not found$"),
        "its image store cleared layers away that the new image was to share",
        "build again, a moment after the last build; an engine with BuildKit 0.29 or newer does not do this",
    ),
)


def transient_fault(error: BuildError) -> EngineFault | None:
    """How to tell `error` where it is a fault of the engine's that may pass; None for any other."""
    for fault in _FAULTS:
        if found := fault.words.search(error.what.rstrip()):
            return EngineFault(
                "The engine gave the build up; nothing is wrong with the Dockerfile.",
                why=f"{fault.meaning} ({found[0]})",
                remedy=fault.remedy,
            )
    return None


def retry_transient(attempt: Callable[[], T], cancel: Cancel | None = None) -> T:
    """Call `attempt`, and call it again a few times if the engine fails with an error that may pass.

    Parameters
    ----------
    attempt
        Runs the build.
    cancel
        Ends the pause between two attempts.

    Returns
    -------
    T
        What `attempt` returned.

    Raises
    ------
    EngineFault
        If every attempt ended with such an error.
    BuildCancelled
        If `cancel` was called between two attempts.
    """
    pauses = iter(_PAUSES)
    while True:
        try:
            return attempt()
        except BuildError as error:
            told = transient_fault(error)
            if told is None:
                raise
            pause = next(pauses, None)
            if pause is None:
                raise told from error
        _rest(pause, cancel)


def _rest(seconds: float, cancel: Cancel | None) -> None:
    if cancel is None:
        time.sleep(seconds)
    elif cancel.wait(seconds):
        raise BuildCancelled("The build was cancelled.")
