"""What an engine is: how it was found, and what it can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the engine says of itself; `memory` is in bytes, `root_dir` a path on the engine's machine.

    `containerd_store` is true where images are kept by containerd (Docker Desktop, Engine 29). `id` is the
    engine's own name for its data, "" where it has none: two engines never share a build cache. `proxies` are
    the engine's own, for its pulls, as pairs of a variable's name and its value; `mirrors` are its registry
    mirrors.
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


# The origins of what this shell was told to use; the docker command uses nothing else then.
ORDERED = ("DOCKER_HOST", "DOCKER_CONTEXT")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A place where an engine could have been, and why it was not used; `late`: it may be there, and busy."""

    address: str
    origin: str
    reason: str
    remedy: str | None = None
    late: bool = False

    @property
    def chosen(self) -> bool:
        """Whether somebody named this place, where others are merely usual ones."""
        return self.ordered or self.origin.startswith("docker context")

    @property
    def ordered(self) -> bool:
        """Whether nothing may be used in its place."""
        return self.origin in ORDERED


@dataclass(frozen=True, slots=True)
class Engine:
    """A connected engine. `origin` says in words how it was found, `skipped` what was tried before it."""

    api: docker.APIClient
    address: str
    origin: str
    info: EngineInfo
    skipped: tuple[Skipped, ...] = ()
