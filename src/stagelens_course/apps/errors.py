"""What can go wrong when the applications are started or looked at."""

from __future__ import annotations

from stagelens.errors import StagelensError


class AppsError(StagelensError):
    """Base of this room's errors."""


class NameTaken(AppsError):
    """A container of that name is there and is somebody else's; it was left alone."""


class ImageMissing(AppsError):
    """An image that is to be run, and not built, is not on the engine."""


class NetworkFailed(AppsError):
    """The engine made no network."""


class NoFreePort(AppsError):
    """None of the ports tried could be published."""


class ServiceFailed(AppsError):
    """An application ended, or did not answer in time; its last log lines are in `why`."""


class NotRunning(AppsError):
    """An application has no container, or could not be reached."""


class AlreadyStarting(AppsError):
    """Another process is starting the same applications."""
