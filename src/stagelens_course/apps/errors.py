"""Errors of starting and inspecting the applications."""

from __future__ import annotations

from stagelens.errors import StagelensError


class AppsError(StagelensError):
    """Base class of the errors of the applications."""


class NameTaken(AppsError):
    """A container of that name exists that stagelens did not make; it was left alone."""


class ImageMissing(AppsError):
    """An image that should run without being built is not on the engine."""


class NetworkFailed(AppsError):
    """The engine could not make the network."""


class NoFreePort(AppsError):
    """None of the ports tried could be published."""


class ServiceFailed(AppsError):
    """An application ended or did not answer in time; `why` has the last lines of its log."""


class NotRunning(AppsError):
    """An application has no container, or could not be reached."""


class AlreadyStarting(AppsError):
    """Another process is starting the same applications."""
