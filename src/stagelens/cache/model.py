"""Builds and their inputs as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stagelens.builds import BuildTrace
from stagelens.dockerfile import Dockerfile

StepId = tuple[int, int]  # the indexes of a stage and of an instruction in that stage
FileKind = Literal["file", "dir", "link", "other"]
ChangeKind = Literal["added", "removed", "content", "mode", "kind", "target", "xattrs"]


@dataclass(frozen=True, slots=True)
class ContextFile:
    """A path of the build context as the engine sees it.

    Attributes
    ----------
    path
        The path from the context's root.
    kind
        The type of the file.
    mode
        The permission bits with setuid, setgid and sticky.
    size
        The size in bytes.
    digest
        The SHA-256 of the content; None for a path without content and for a file that is too large to read.
    target
        The target of a symlink.
    xattrs
        A digest of the extended attributes that count; "" without any.
    stamp
        The state of the file on disk (device, inode, size, times); comparisons ignore it.
    stale
        What is different on disk, if the engine does not notice that: it compares a file by size and time,
        and a folder by its name alone. The other attributes have the state that the engine uses.
    """

    path: str
    kind: FileKind
    mode: int
    size: int
    digest: str | None = None
    target: str = ""
    xattrs: str = ""
    stamp: str = field(default="", compare=False)
    stale: ChangeKind | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class FileChange:
    """A path of the build context that changed between two builds, and what changed about it."""

    path: str
    kind: ChangeKind


@dataclass(frozen=True, slots=True)
class InputImage:
    """An image that a build starts from or copies from, as it was at the time of the build.

    Attributes
    ----------
    name
        The name in the Dockerfile.
    layers
        A digest of the layers; "" if they are unknown.
    environment, user, shell, workdir
        The settings that steps depend on; `shell` is a JSON list.
    triggers
        The ONBUILD instructions.
    """

    name: str
    layers: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str = ""
    shell: str = ""
    workdir: str = "/"
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildInputs:
    """All inputs of a build's cache keys that can be known before the build.

    Attributes
    ----------
    dockerfile
        The parsed Dockerfile.
    files
        The paths of the context that COPY, ADD and bind mounts can reach.
    images
        The images that stages start from or copy from, by their names in the Dockerfile.
    build_args
        The build arguments.
    target
        The stage to build; None for the last one.
    network
        The network mode of RUN.
    platform
        The platform to build for; None if it is unknown.
    build_platform
        The platform of the engine; None if it is unknown.
    build_contexts
        The addresses of the build contexts beside the main one, by name: see `BuildContext`.
    context_files
        The paths of each of these contexts that is a folder, by its name.
    no_cache
        Whether the build runs without the cache.
    engine
        The ID of the engine: each engine has a separate cache.
    merge_op
        Whether the engine creates separate layers for `COPY --link` (BuildKit's MergeOp).
    cache_ids
        Whether the `id` and `sharing` of cache mounts count for the engine's cache (BuildKit before 0.13).
    """

    dockerfile: Dockerfile
    files: Mapping[str, ContextFile]
    images: Mapping[str, InputImage]
    build_args: Mapping[str, str] = field(default_factory=dict[str, str])
    target: str | None = None
    network: str | None = None
    platform: str | None = None
    build_platform: str | None = None
    build_contexts: Mapping[str, str] = field(default_factory=dict[str, str])
    context_files: Mapping[str, Mapping[str, ContextFile]] = field(
        default_factory=dict[str, Mapping[str, ContextFile]]
    )
    no_cache: bool = False
    engine: str = ""
    merge_op: bool = False
    cache_ids: bool = True


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """A build with its inputs; `explain` compares two of them.

    Attributes
    ----------
    inputs
        The inputs, read just before the build.
    trace
        What happened in the build.
    """

    inputs: BuildInputs
    trace: BuildTrace
