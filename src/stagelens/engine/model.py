"""Values that describe an engine: how it was found, and what it can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stagelens import timeouts
from stagelens.engine_socket import EngineSocket

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


@dataclass(frozen=True)
class Engine:
    """A connected engine.

    Attributes
    ----------
    open_api
        Returns a docker-py client for the engine; called when `api` is used for the first time.
    address
        The engine's address, usable as DOCKER_HOST.
    origin
        How the engine was found, such as "DOCKER_HOST".
    info
        What the engine reports about itself.
    rejected
        The addresses that were tried before.
    socket
        The engine's Unix socket; None if it is reached in another way.
    """

    open_api: Callable[[], docker.APIClient] = field(repr=False, compare=False)
    address: str
    origin: str
    info: EngineInfo
    rejected: tuple[RejectedCandidate, ...] = ()
    socket: EngineSocket | None = field(default=None, repr=False, compare=False)

    @cached_property
    def api(self) -> docker.APIClient:
        """The docker-py client."""
        return self.open_api()

    @property
    def build_api(self) -> docker.APIClient | EngineSocket:
        """The client for builds, which does not need docker-py if the engine has a Unix socket."""
        return self.socket or self.api

    def close(self) -> None:
        """Close the docker-py client, if there is one."""
        if "api" in self.__dict__:
            self.api.close()

    def inspect_image(self, name: str) -> Mapping[str, Any] | None:
        """Return what the engine reports about an image; None if it does not have the image.

        Parameters
        ----------
        name
            The name or id of the image.

        Raises
        ------
        EngineLost
            If the engine no longer answers.
        """
        if self.socket is not None:
            # docker-py describes the fault if the socket fails.
            with suppress(OSError, HTTPException, ValueError):
                return self.socket.get(f"/images/{quote(name)}/json", timeouts.current.engine_read)
        from docker.errors import APIError

        try:
            return self.api.inspect_image(name)
        except APIError:
            return None
