"""The last build of each project, kept between runs of the program, so that the next one can be explained."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from stagelens.builds import BuildTrace, Vertex
from stagelens.cache.manifest import digests
from stagelens.cache.model import Base, BuildRecord, ContextFile, Inputs
from stagelens.dockerfile import DockerfileError, parse
from stagelens.paths import replacing, state_dir

_VERSION = 3
_MAX_PROJECTS = 50
_MAX_BYTES = 64 * 1024**2
_ASKED = ("target", "network", "platform", "no_cache", "engine", "merges")
_TOLD = ("backend", "image_id", "tags", "started", "completed", "context_bytes", "missing")


class History:
    """A file for each project, target and Dockerfile in the user's state folder; the oldest ones go.

    The files hold build arguments, so only their owner can read them. Logs are not kept.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_dir() / "builds"

    def last(
        self, context: str | Path, *, target: str | None = None, dockerfile: str | Path | None = None
    ) -> BuildRecord | None:
        """The project's last build that was kept; None where there is none that can be read."""
        path = self._path(context, target, dockerfile)
        try:
            if path.stat().st_size > _MAX_BYTES:
                return None
            record = _from_json(json.loads(path.read_text(encoding="ascii")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, DockerfileError):
            return None  # what cannot be read explains nothing, and the next build replaces it
        digests.learn(record.inputs.files.values())
        return record

    def keep(self, record: BuildRecord, context: str | Path, *, dockerfile: str | Path | None = None) -> None:
        """Make `record` the project's last build.

        Raises
        ------
        OSError: the state folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(context, record.inputs.target, dockerfile)
        with replacing(path) as file:
            file.write(json.dumps(_to_json(record)).encode("ascii"))
        self._drop_oldest()

    def _path(self, context: str | Path, target: str | None, dockerfile: str | Path | None) -> Path:
        # Path.resolve raises where links go in a circle; that is for the build to tell.
        folder = os.path.realpath(context)
        file = os.path.realpath(dockerfile) if dockerfile else f"{folder}/Dockerfile"
        key = "\0".join([folder, file, target or ""])
        return self._folder / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.json"

    def _drop_oldest(self) -> None:
        kept: list[tuple[float, Path]] = []
        for path in self._folder.glob("*.json"):
            with suppress(OSError):  # another program may have dropped it
                kept.append((path.stat().st_mtime, path))
        for _, path in sorted(kept, reverse=True)[_MAX_PROJECTS:]:
            path.unlink(missing_ok=True)


def _to_json(record: BuildRecord) -> dict[str, Any]:
    inputs, trace = record.inputs, record.trace
    return {
        "version": _VERSION,
        "dockerfile": {"path": inputs.dockerfile.path, "text": inputs.dockerfile.text},
        "build_args": dict(inputs.build_args),
        "files": [[*asdict(file).values()] for file in inputs.files.values()],
        "bases": {name: asdict(base) for name, base in inputs.bases.items()},
        "asked": {name: getattr(inputs, name) for name in _ASKED},
        "told": {name: getattr(trace, name) for name in _TOLD},
        "vertices": [asdict(replace(vertex, logs=())) for vertex in trace.vertices],
    }


def _from_json(value: Mapping[str, Any]) -> BuildRecord:
    if value["version"] != _VERSION:
        raise ValueError(f"unknown version {value['version']!r}")
    build_args = dict(value["build_args"])
    dockerfile = parse(value["dockerfile"]["text"], value["dockerfile"]["path"], build_args)
    files = [ContextFile(*row) for row in value["files"]]
    inputs = Inputs(
        dockerfile,
        files={file.path: file for file in files},
        bases={name: _base(fields) for name, fields in value["bases"].items()},
        build_args=build_args,
        **{name: value["asked"][name] for name in _ASKED},
    )
    told: dict[str, Any] = {name: value["told"][name] for name in _TOLD}
    told |= {name: tuple(told[name]) for name in ("tags", "missing")}
    vertices = tuple(_vertex(fields) for fields in value["vertices"])
    return BuildRecord(inputs, BuildTrace(dockerfile, vertices, target=inputs.target, **told))


def _base(fields: Mapping[str, Any]) -> Base:
    lists: dict[str, Any] = {"triggers": tuple(fields["triggers"])}
    return Base(**{**fields, **lists})


def _vertex(fields: Mapping[str, Any]) -> Vertex:
    lists: dict[str, Any] = {"logs": (), "inputs": tuple(fields["inputs"])}
    return Vertex(**{**fields, **lists})
