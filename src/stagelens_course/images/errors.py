"""Errors of providing base images."""

from __future__ import annotations

from stagelens.errors import StagelensError


class ImagesError(StagelensError):
    """A base image could not be provided."""


class PullFailed(ImagesError):
    """An image could not be pulled; `unreachable` is true where the registry did not answer at all."""

    def __init__(self, name: str, why: str, *, unreachable: bool = False) -> None:
        self.unreachable = unreachable
        super().__init__(
            f"{name} could not be pulled.",
            why=why,
            remedy="set STAGELENS_REGISTRY_MIRROR to a registry you can reach, "
            "or run: stagelens images --source replica",
        )


class ReplicaFailed(ImagesError):
    """A local replica could not be made."""
