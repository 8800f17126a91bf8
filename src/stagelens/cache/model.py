"""What the cache room hands over, as frozen values: what a build was made from, and its trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stagelens.builds import BuildTrace
from stagelens.dockerfile import Dockerfile

Key = tuple[int, int]
FileKind = Literal["file", "dir", "link", "other"]
ChangeKind = Literal["added", "removed", "content", "mode", "kind", "target"]


@dataclass(frozen=True, slots=True)
class ContextFile:
    """A path of the build context as the engine sees it.

    `mode` is the permission bits with setuid, setgid and sticky; `digest` is the SHA-256 of its content, None
    for what has none or was too large to read; `target` is a symlink's. `stamp` tells one state of the file
    on disk from another (device, inode, size, times) and takes no part in comparisons.
    """

    path: str
    kind: FileKind
    mode: int
    size: int
    digest: str | None = None
    target: str = ""
    stamp: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class FileChange:
    """A path of the context that is not what it was, and in which way."""

    path: str
    kind: ChangeKind


@dataclass(frozen=True, slots=True)
class Base:
    """A base image at the time of a build.

    `files` is a digest of its layers, "" where it is not known; the rest are those of its settings that
    steps depend on.
    """

    name: str
    files: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str = ""
    shell: str = ""
    folder: str = "/"
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that a build's cache keys depend on, as far as it can be known before the build.

    `files` are the context's paths that COPY and ADD can reach, by path; `bases` the base images by the
    names that the Dockerfile calls them; `platform` is None where it is not known; `engine` the engine's own
    id, since each has a cache of its own; `merges` says that it makes layers of their own of linked COPYs.
    """

    dockerfile: Dockerfile
    files: Mapping[str, ContextFile]
    bases: Mapping[str, Base]
    build_args: Mapping[str, str] = field(default_factory=dict[str, str])
    target: str | None = None
    network: str | None = None
    platform: str | None = None
    no_cache: bool = False
    engine: str = ""
    merges: bool = False


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """A build with what it was made from: two of them are what `explain` compares."""

    inputs: Inputs
    trace: BuildTrace
