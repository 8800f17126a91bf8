"""Faults of an engine that may pass, and further attempts after them.

The Dockerfile is not wrong in these cases, and the next attempt takes the finished steps from the cache. The
end of BuildKit's error identifies the fault; the text before it may come from a command of the Dockerfile.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from stagelens import timeouts
from stagelens.buildkit.errors import BuildCancelled, BuildError, EngineFault
from stagelens.buildkit.image_build import Cancel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Fault:
    """A fault: the end of BuildKit's error, its meaning, and the remedy if further attempts did not help."""

    words: re.Pattern[str]
    meaning: str
    remedy: str


_FAULTS = (
    # util/flightcontrol: a step that needs something which another step has just finished (such as the
    # resolv.conf of all containers) retries 13 times, at the same moments as the others. BuildKit 0.9
    # (Engine 23) shares the other step's result, and 0.14 (Engine 27) waits longer.
    _Fault(
        re.compile(r"flightcontrol: exceeded retry timeout$"),
        "it was too busy for the number of parallel steps",
        "build again when the machine is less busy; finished steps are cached. Use Engine 23 or newer",
    ),
    # moby/buildkit#3748: a COPY that two builds wait for fails after one of them is cancelled.
    _Fault(
        re.compile(r"duplicate output \d+$"),
        "it lost a step that it shared with a cancelled build",
        "build again; finished steps are cached",
    ),
    # BuildKit ends a session that does not answer health checks: after ten seconds in 0.8, later after a
    # minute (session/grpc.go, monitorHealth). The next step that needs it fails five seconds later.
    _Fault(
        re.compile(r"no active session for \S+: context deadline exceeded$"),
        "this program did not answer it in time, because it was suspended or too busy",
        "build again; keep this machine awake and less busy",
    ),
    # The first call of a gateway must arrive within three seconds (control/gateway).
    _Fault(
        re.compile(r"no such job \S+$"),
        "it was too busy to start the build in time",
        "try again when the machine is less busy",
    ),
    # The containerd image store looks a name up and creates it in two steps.
    _Fault(
        re.compile(r'(?:^|: )image "[^"]*": already exists$'),
        "another build tagged an image with the same name at the same moment",
        "build again, or give each build a different tag",
    ),
    # moby/buildkit#6521: the containerd image store removes an older image's layers while it unpacks the new
    # image, which shares them. BuildKit 0.29 retains them (moby/buildkit#6558).
    _Fault(
        re.compile(r"parent snapshot \S+ does not exist: not found$"),
        "its image store removed layers that the new image shares",
        "wait a moment and build again; an engine with BuildKit 0.29 or newer retains them",
    ),
)


def transient_fault(error: BuildError) -> EngineFault | None:
    """Return the error to raise for a fault of the engine.

    Parameters
    ----------
    error
        The error of a build.

    Returns
    -------
    EngineFault or None
        None if the build itself failed.
    """
    for fault in _FAULTS:
        if found := fault.words.search(error.what.rstrip()):
            return EngineFault(
                "The engine stopped the build by its own fault; nothing is wrong with the Dockerfile.",
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
    pauses = iter(timeouts.current.build_retry_pauses)
    while True:
        try:
            return attempt()
        except BuildError as error:
            fault = transient_fault(error)
            if fault is None:
                raise
            pause = next(pauses, None)
            if pause is None:
                raise fault from error
        _pause(pause, cancel)


def _pause(seconds: float, cancel: Cancel | None) -> None:
    if cancel is None:
        time.sleep(seconds)
    elif cancel.wait(seconds):
        raise BuildCancelled("The build was cancelled.")
