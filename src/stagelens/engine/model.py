"""Values that describe an engine: how it was found, and what it can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import docker

ProgressCallback = Callable[[str], None]
# The docker command uses no other engine than the one that these variables name.
EXCLUSIVE_ORIGINS = ("DOCKER_HOST", "DOCKER_CONTEXT")


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine reports about itself.

    Attributes
    ----------
    version
        The engine's version, such as "26.1.5".
    api_version
        The version of the Engine API that the client uses.
    buildkit
        Whether the engine builds with BuildKit.
    podman
        Whether the engine is Podman.
    storage_driver
        The storage driver, such as "overlay2".
    containerd_store
        Whether containerd stores the images (the default of Docker Desktop and Engine 29).
    os
        The operating system of its containers, "linux" or "windows".
    architecture
        The processor architecture.
    cpus
        The number of processors.
    memory
        The machine's memory in bytes.
    root_dir
        The data folder, a path on the engine's machine.
    id
        The engine's identifier, or "". Two engines never share a build cache.
    proxies
        The proxies that the engine pulls with, as pairs of variable and value.
    mirrors
        The engine's registry mirrors.
    """

    version: str
    api_version: str
    buildkit: bool
    podman: bool
    storage_driver: str
    containerd_store: bool
    os: str
    architecture: str
    cpus: int
    memory: int
    root_dir: str
    id: str = ""
    proxies: tuple[tuple[str, str], ...] = ()
    mirrors: tuple[str, ...] = ()

    @property
    def platform(self) -> str:
        """The platform that the engine builds for by default, such as "linux/amd64"."""
        return f"{self.os}/{self.architecture}"


@dataclass(frozen=True, slots=True)
class RejectedCandidate:
    """An address that was tried and not used.

    Attributes
    ----------
    address
        The address; a password in it is replaced.
    origin
        Where the address comes from, such as "DOCKER_HOST" or "the default socket".
    reason
        Why the address was not used.
    remedy
        What the user can do about it, if known.
    timed_out
        Whether no answer came in time: an engine may be there, and busy.
    """

    address: str
    origin: str
    reason: str
    remedy: str | None = None
    timed_out: bool = False

    @property
    def explicit(self) -> bool:
        """Whether the user chose this address; other addresses are merely common ones."""
        return self.exclusive or self.origin.startswith("docker context")

    @property
    def exclusive(self) -> bool:
        """Whether no other engine may be used instead."""
        return self.origin in EXCLUSIVE_ORIGINS


@dataclass(frozen=True, slots=True)
class Engine:
    """A connected engine.

    Attributes
    ----------
    api
        The docker-py client.
    address
        The engine's address, usable as DOCKER_HOST.
    origin
        How the engine was found, such as "DOCKER_HOST".
    info
        What the engine reports about itself.
    rejected
        The addresses that were tried before.
    """

    api: docker.APIClient
    address: str
    origin: str
    info: EngineInfo
    rejected: tuple[RejectedCandidate, ...] = ()
