"""What can go wrong when the applications are started or looked at."""

from __future__ import annotations

from stagelens.errors import StagelensError


class RunError(StagelensError):
    """Base of this room's errors."""


class NameTaken(RunError):
    """A container of that name is there and is somebody else's; it was left alone."""


class ImageMissing(RunError):
    """An image that is to be run, and not built, is not on the engine."""


class NetworkFailed(RunError):
    """The engine made no network."""


class NoFreePort(RunError):
    """None of the ports tried could be published."""


class ServiceFailed(RunError):
    """An application ended, or did not answer in time; its last log lines are in `why`."""


class NotRunning(RunError):
    """An application has no container, or could not be reached."""


class AlreadyStarting(RunError):
    """Another process is starting the same applications."""
