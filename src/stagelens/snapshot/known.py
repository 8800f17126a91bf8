"""What was listed before, kept in memory and on disk: tables by their listing, explorations by their build.

A table is a listing's, whoever made it. An exploration is known where nothing can have changed since: the
same Dockerfile, arguments and context, every step cached or run before it was made, and the same image, whose
configuration says when each of its layers was made. Only a project's last exploration is known, so one of
another target in between, which may have run steps again, is a reason to ask the engine.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError
from requests.exceptions import RequestException

from stagelens.build import BuildTrace
from stagelens.buildkit import BuildRequest
from stagelens.engine import Engine
from stagelens.snapshot.keep import Keep
from stagelens.snapshot.listing import PARTS, ListingError, read_listing
from stagelens.snapshot.split import Point
from stagelens.snapshot.table import FileTable

MAX_BYTES = 256 << 20  # some three million files
_MAX_INDEX_BYTES = 16 << 20
_MAX_TABLES = 64
_VERSION = "1"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files at a point, which is the snapshot `identity` in the engine ("" where it does not say)."""

    table: FileTable
    digest: str
    identity: str


@dataclass(frozen=True, slots=True)
class Guess:
    """What a point's snapshot was when its project was explored last: its table's digest, its identity."""

    digest: str
    identity: str


@dataclass(frozen=True, slots=True)
class BuildKey:
    """What stands for a project, and for one build of it; None where not all that went into that is known."""

    project: str
    build: str | None


class Known:
    """Snapshots of earlier probes, those used last in memory and all that there is room for in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._files = Keep(folder, ".files", MAX_BYTES)
        self._builds = Keep(folder, ".build", _MAX_INDEX_BYTES)

    def snapshot(self, listing: Mapping[str, bytes], identity: str) -> Snapshot:
        """What a listing says; it is parsed only if it never was.

        Raises
        ------
        ListingError: it lacks a part, or is none.
        """
        try:
            parts = [listing[part] for part in PARTS]
        except KeyError as error:
            raise ListingError("The probe's result lacks a listing.") from error
        found = hashlib.sha256()
        for part in parts:
            found.update(len(part).to_bytes(8, "big") + part)
        digest = found.hexdigest()
        table = self._table(digest)
        if table is None:
            table = read_listing(*parts)
            self._files.store(digest, [table.to_bytes()])
            _recent.put(digest, table)
        return Snapshot(table, digest, identity)

    def build(self, key: BuildKey, trace: BuildTrace) -> dict[Point, Snapshot] | None:
        """The snapshots of a build that was explored last and after its steps last ran, else None."""
        kept = self._kept(key)
        if key.build is None or kept["build"] != key.build or kept["time"] < _last_run(trace):
            return None
        found: dict[Point, Snapshot] = {}
        for stage, instruction, digest, identity, _ in kept["points"]:
            if (table := self._table(digest)) is None:
                return None
            found[Point(stage, instruction)] = Snapshot(table, digest, identity)
        return found

    def guesses(self, key: BuildKey) -> dict[str, Guess]:
        """What was known of a project's points, by the digests of their texts; it need not be so still."""
        points = self._kept(key)["points"]
        return {text: Guess(digest, identity) for _, _, digest, identity, text in points}

    def _kept(self, key: BuildKey) -> dict[str, Any]:
        """What was kept of a project's last build; of none where it is damaged or of another version."""
        nothing: dict[str, Any] = {"build": None, "time": 0.0, "points": []}
        data = self._builds.load(key.project)
        try:
            kept = json.loads(data or b"{}")
            sound = isinstance(kept["build"], str | None) and isinstance(kept["time"], float | int)
            for stage, instruction, digest, identity, text in kept["points"]:
                sound &= isinstance(stage, int) and isinstance(instruction, int)
                sound &= isinstance(identity, str) and isinstance(text, str)
                sound &= bool(_DIGEST.fullmatch(digest))
        except (ValueError, TypeError, KeyError, RecursionError):
            return nothing
        return kept if sound else nothing

    def guessed(self, guess: Guess, identities: Collection[str]) -> Snapshot | None:
        """The guess as a snapshot, if the engine has that one, and its files are still known here."""
        table = self._table(guess.digest) if guess.identity in identities else None
        return Snapshot(table, guess.digest, guess.identity) if table is not None else None

    def keep_build(
        self, key: BuildKey, time: float, snapshots: Mapping[Point, Snapshot], texts: Mapping[Point, str]
    ) -> None:
        """Keep a build's snapshots as they were at a time of the engine's clock (Unix seconds).

        `texts` are digests of the points' texts.
        """
        points = [
            (point.stage, point.instruction, snapshot.digest, snapshot.identity, texts[point])
            for point, snapshot in snapshots.items()
        ]
        facts = {"build": key.build, "time": time, "points": points}
        self._builds.store(key.project, [json.dumps(facts).encode()])

    def _table(self, digest: str) -> FileTable | None:
        if (table := _recent.get(digest)) is not None:
            return table
        data = self._files.load(digest)
        try:
            table = FileTable.from_bytes(data) if data is not None else None
        except ValueError:
            return None
        if table is not None:
            _recent.put(digest, table)
        return table


def build_key(engine: Engine, trace: BuildTrace, request: BuildRequest, context: Path) -> BuildKey:
    """What stands for a build with all that went into it."""
    dockerfile = trace.dockerfile
    project = _digest([_VERSION, engine.info.id, str(context.absolute()), request.dockerfile])
    sources = {edge.source for edge in dockerfile.edges if isinstance(edge.source, str)}
    images = [(name, _image_id(engine, name)) for name in sorted(sources - {"scratch"})]
    if None in (trace.image_id, trace.context_digest, *(known for _, known in images)) or not engine.info.id:
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
    """The id of an image in the engine's store; None where BuildKit alone has it, or nobody answers."""
    try:
        return str(engine.api.inspect_image(name)["Id"])
    except (APIError, RequestException):
        return None


def _last_run(trace: BuildTrace) -> float:
    """When the build's last step ended that was not cached, by the engine's clock in Unix seconds.

    A FROM may count as run when its image is only looked up.
    """
    return max((v.completed or 0.0 for v in trace.vertices if v.instruction and not v.cached), default=0.0)


class _Recent:
    """The tables used last, by digest."""

    def __init__(self) -> None:
        self._tables: OrderedDict[str, FileTable] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: str) -> FileTable | None:
        with self._lock:
            if digest in self._tables:
                self._tables.move_to_end(digest)
            return self._tables.get(digest)

    def put(self, digest: str, table: FileTable) -> None:
        with self._lock:
            self._tables[digest] = table
            if len(self._tables) > _MAX_TABLES:
                self._tables.popitem(last=False)


_recent = _Recent()
