"""Listings of earlier explorations, in memory and on disk.

Tables are stored by the identity of their snapshot: a snapshot of an engine never changes. An exploration is
stored by its build and used again if nothing can have changed since: same Dockerfile, arguments and context,
every step cached or run before the exploration, and the same image, whose configuration has the time of each
layer. Only the last exploration of a project is stored: a build of another target in between may have run
steps again, so the engine is asked after it.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError
from requests.exceptions import RequestException

from stagelens.buildkit import BuildRequest
from stagelens.builds import BuildTrace
from stagelens.engine import Engine
from stagelens.file_cache import LruFileCache
from stagelens.snapshot.points import CopyPaths, Point
from stagelens.snapshot.table import FileTable

MAX_BYTES = 256 << 20  # some three million files
_MAX_INDEX_BYTES = 16 << 20
_MAX_TABLES = 64
CACHE_VERSION = "4"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files at a point.

    Attributes
    ----------
    table
        The files.
    identity
        A digest that stands for the engine's snapshot, or for the files themselves.
    """

    table: FileTable
    identity: str


@dataclass(frozen=True, slots=True)
class BuildSnapshots:
    """The snapshots of a build by their points, and the paths of its COPY instructions."""

    snapshots: Mapping[Point, Snapshot]
    copies: Mapping[Point, CopyPaths]


@dataclass(frozen=True, slots=True)
class BuildKey:
    """What identifies a project, and one build of it.

    Attributes
    ----------
    project
        A digest of the engine, the context's path and the Dockerfile's path.
    build
        A digest of all that went into the build; None if not all of it is known.
    """

    project: str
    build: str | None


class SnapshotCache:
    """Snapshots of earlier explorations: those used last in memory, and as many as fit in a folder.

    Parameters
    ----------
    folder
        Where they are stored.
    """

    def __init__(self, folder: Path) -> None:
        self._files = LruFileCache(folder, ".files", MAX_BYTES)
        self._builds = LruFileCache(folder, ".build", _MAX_INDEX_BYTES)

    def load(self, identity: str) -> Snapshot | None:
        """Return the snapshot with an identity, or None."""
        table = self._table(identity)
        return Snapshot(table, identity) if table is not None else None

    def store(self, identity: str | None, table: FileTable) -> Snapshot:
        """Store the files of a snapshot; without an identity, their own digest is used."""
        parts = table.to_parts()
        identity = identity or hashlib.sha256(b"".join(parts)).hexdigest()
        self._files.store(identity, parts)
        _recent.put(identity, table)
        return Snapshot(table, identity)

    def load_build(self, key: BuildKey, trace: BuildTrace) -> BuildSnapshots | None:
        """Return what was stored of a build, or None if one of its steps has run since."""
        facts = self._load_facts(key)
        if key.build is None or facts["build"] != key.build or facts["time"] < _last_run(trace):
            return None
        found: dict[Point, Snapshot] = {}
        for stage, instruction, identity in facts["points"]:
            if (snapshot := self.load(identity)) is None:
                return None
            found[Point(stage, instruction)] = snapshot
        copies = {
            Point(*at): CopyPaths(tuple(sources), destination) for at, sources, destination in facts["copies"]
        }
        return BuildSnapshots(found, copies)

    def _load_facts(self, key: BuildKey) -> dict[str, Any]:
        """Return what was stored of a project's last build; nothing if it is damaged or outdated."""
        nothing: dict[str, Any] = {"build": None, "time": 0.0, "points": [], "copies": []}
        data = self._builds.load(key.project)
        try:
            facts = json.loads(data or b"{}")
            sound = isinstance(facts["build"], str | None) and isinstance(facts["time"], float | int)
            for stage, instruction, identity in facts["points"]:
                sound &= isinstance(stage, int) and isinstance(instruction, int)
                sound &= bool(_DIGEST.fullmatch(identity))
            for (stage, instruction), sources, destination in facts["copies"]:
                sound &= isinstance(stage, int) and isinstance(instruction, int)
                sound &= isinstance(sources, list) and all(
                    isinstance(s, str) for s in (*sources, destination)
                )
        except (ValueError, TypeError, KeyError, RecursionError):
            return nothing
        return facts if sound else nothing

    def store_build(self, key: BuildKey, time: float, found: BuildSnapshots) -> None:
        """Store an exploration.

        Parameters
        ----------
        key
            The build that was explored.
        time
            The start of the exploration by the engine's clock, in Unix seconds.
        found
            The snapshots and COPY paths.
        """
        points = [(at.stage, at.instruction, snapshot.identity) for at, snapshot in found.snapshots.items()]
        copies = [((at.stage, at.instruction), c.sources, c.destination) for at, c in found.copies.items()]
        stored = {"build": key.build, "time": time, "points": points, "copies": copies}
        self._builds.store(key.project, [json.dumps(stored).encode()])

    def _table(self, identity: str) -> FileTable | None:
        if (table := _recent.get(identity)) is not None:
            return table
        data = self._files.load(identity)
        try:
            table = FileTable.from_bytes(data) if data is not None else None
        except ValueError:
            return None
        if table is not None:
            _recent.put(identity, table)
        return table


def build_key(engine: Engine, trace: BuildTrace, request: BuildRequest, context: Path) -> BuildKey:
    """Return the key of a build with all that went into it."""
    dockerfile = trace.dockerfile
    project = _digest([CACHE_VERSION, engine.info.id, str(context.absolute()), request.dockerfile])
    sources = {edge.source for edge in dockerfile.edges if isinstance(edge.source, str)}
    images = [(name, _image_id(engine, name)) for name in sorted(sources - {"scratch"})]
    # A build context may be an image or a repository, whose state is unknown.
    if (
        request.contexts
        or None in (trace.image_id, trace.context_digest, *(known for _, known in images))
        or not engine.info.id
    ):
        return BuildKey(project, None)
    facts = [
        trace.image_id,
        trace.context_digest,
        dockerfile.text,
        trace.target,
        sorted(request.build_args.items()),
        request.network,
        request.platform,
        images,
    ]
    return BuildKey(project, _digest(facts))


def _digest(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _image_id(engine: Engine, name: str) -> str | None:
    """Return the id of an image in the engine's store; None if only BuildKit has it, or the engine fails."""
    try:
        return str(engine.api.inspect_image(name)["Id"])
    except (APIError, RequestException):
        return None


def _last_run(trace: BuildTrace) -> float:
    """Return when the last step ended that was not cached, by the engine's clock in Unix seconds."""
    ran = (v for v in trace.vertices if v.instructions and not v.is_lookup and not v.cached)
    return max((v.completed or 0.0 for v in ran), default=0.0)


class _Recent:
    """The tables used last, by the identity of their snapshot."""

    def __init__(self) -> None:
        self._tables: OrderedDict[str, FileTable] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, identity: str) -> FileTable | None:
        with self._lock:
            if identity in self._tables:
                self._tables.move_to_end(identity)
            return self._tables.get(identity)

    def put(self, identity: str, table: FileTable) -> None:
        with self._lock:
            self._tables[identity] = table
            if len(self._tables) > _MAX_TABLES:
                self._tables.popitem(last=False)


_recent = _Recent()
