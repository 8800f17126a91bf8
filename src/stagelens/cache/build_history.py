"""Store the last build of each project on disk, so that a later process can explain the next one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from stagelens.builds import BuildTrace, Vertex
from stagelens.cache.context_files import digest_cache
from stagelens.cache.model import BuildInputs, BuildRecord, ContextFile, InputImage
from stagelens.dockerfile import DockerfileError, parse
from stagelens.paths import atomic_write, state_dir

_VERSION = 6
_MAX_PROJECTS = 50
_MAX_BYTES = 64 * 1024**2
_INPUT_FIELDS = (
    "target",
    "network",
    "platform",
    "build_platform",
    "build_contexts",
    "no_cache",
    "engine",
    "merge_op",
    "cache_ids",
)
_TRACE_FIELDS = ("backend", "image_id", "tags", "started", "completed", "context_bytes", "limitations")


class BuildHistory:
    """The last build of each project, target and Dockerfile, stored in the user's state folder.

    Only the owner can read the files, because they hold build arguments. Logs are not stored. The oldest
    projects are deleted.

    Parameters
    ----------
    folder
        The folder of the files; by default one in the user's state folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_dir() / "builds"

    def last(
        self, context: str | Path, *, target: str | None = None, dockerfile: str | Path | None = None
    ) -> BuildRecord | None:
        """Return the last stored build of a project.

        Parameters
        ----------
        context
            The folder of the build context.
        target
            The stage that was built.
        dockerfile
            The path of the Dockerfile; by default `Dockerfile` in the context.

        Returns
        -------
        BuildRecord or None
            The build; None if no readable one is stored.
        """
        path = self._path(context, target, dockerfile)
        try:
            if path.stat().st_size > _MAX_BYTES:
                return None
            record = _from_json(json.loads(path.read_text(encoding="ascii")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, DockerfileError):
            return None  # the next build replaces the unreadable file
        for files in (record.inputs.files, *record.inputs.context_files.values()):
            digest_cache.add(files.values())
        return record

    def store(
        self, record: BuildRecord, context: str | Path, *, dockerfile: str | Path | None = None
    ) -> None:
        """Store a build as the last one of a project.

        Parameters
        ----------
        record
            The build.
        context
            The folder of the build context.
        dockerfile
            The path of the Dockerfile; by default `Dockerfile` in the context.

        Raises
        ------
        OSError
            If the state folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(context, record.inputs.target, dockerfile)
        with atomic_write(path) as file:
            file.write(json.dumps(_to_json(record)).encode("ascii"))
        self._drop_oldest()

    def _path(self, context: str | Path, target: str | None, dockerfile: str | Path | None) -> Path:
        # Path.resolve raises for a loop of symlinks, which the build should report.
        folder = os.path.realpath(context)
        file = os.path.realpath(dockerfile) if dockerfile else f"{folder}/Dockerfile"
        key = "\0".join([folder, file, target or ""])
        return self._folder / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.json"

    def _drop_oldest(self) -> None:
        stored: list[tuple[float, Path]] = []
        for path in self._folder.glob("*.json"):
            with suppress(OSError):  # another program may have deleted it
                stored.append((path.stat().st_mtime, path))
        for _, path in sorted(stored, reverse=True)[_MAX_PROJECTS:]:
            path.unlink(missing_ok=True)


def _to_json(record: BuildRecord) -> dict[str, Any]:
    inputs, trace = record.inputs, record.trace
    return {
        "version": _VERSION,
        "dockerfile": {"path": inputs.dockerfile.path, "text": inputs.dockerfile.text},
        "build_args": dict(inputs.build_args),
        "files": _rows(inputs.files),
        "context_files": {name: _rows(files) for name, files in inputs.context_files.items()},
        "images": {name: asdict(image) for name, image in inputs.images.items()},
        "inputs": {name: getattr(inputs, name) for name in _INPUT_FIELDS},
        "trace": {name: getattr(trace, name) for name in _TRACE_FIELDS},
        "vertices": [asdict(replace(vertex, logs=())) for vertex in trace.vertices],
    }


def _from_json(value: Mapping[str, Any]) -> BuildRecord:
    if value["version"] != _VERSION:
        raise ValueError(f"unknown version {value['version']!r}")
    build_args = dict(value["build_args"])
    dockerfile = parse(
        value["dockerfile"]["text"],
        value["dockerfile"]["path"],
        build_args,
        build_contexts=value["inputs"]["build_contexts"],
        **{name: value["inputs"][name] for name in ("platform", "build_platform", "target")},
    )
    inputs = BuildInputs(
        dockerfile,
        files=_files(value["files"]),
        context_files={name: _files(rows) for name, rows in value["context_files"].items()},
        images={name: _image(fields) for name, fields in value["images"].items()},
        build_args=build_args,
        **{name: value["inputs"][name] for name in _INPUT_FIELDS},
    )
    trace: dict[str, Any] = {name: value["trace"][name] for name in _TRACE_FIELDS}
    trace |= {name: tuple(trace[name]) for name in ("tags", "limitations")}
    vertices = tuple(_vertex(fields) for fields in value["vertices"])
    return BuildRecord(inputs, BuildTrace(dockerfile, vertices, target=inputs.target, **trace))


def _rows(files: Mapping[str, ContextFile]) -> list[list[Any]]:
    return [[*asdict(file).values()] for file in files.values()]


def _files(rows: Iterable[Iterable[Any]]) -> dict[str, ContextFile]:
    files = [ContextFile(*row) for row in rows]
    return {file.path: file for file in files}


def _image(fields: Mapping[str, Any]) -> InputImage:
    lists: dict[str, Any] = {"triggers": tuple(fields["triggers"])}
    return InputImage(**{**fields, **lists})


def _vertex(fields: Mapping[str, Any]) -> Vertex:
    lists: dict[str, Any] = {"logs": (), "inputs": tuple(fields["inputs"])}
    # Older versions stored neither.
    for name in ("others", "part_of"):
        lists[name] = tuple((int(stage), int(index)) for stage, index in fields.get(name, ()))
    return Vertex(**{**fields, **lists})
