"""Vertices, with their instructions of the Dockerfile, from BuildKit's status messages."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypedDict

from google.protobuf.timestamp_pb2 import Timestamp

from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse
from stagelens.buildkit.proto.buildkit_pb2 import Vertex as WireVertex
from stagelens.builds.logs import MAX_LINES, plain_line, styled
from stagelens.builds.source_map import OpLocation
from stagelens.builds.trace import LogLine, Vertex
from stagelens.dockerfile import Dockerfile, locate_vertex


class _Location(TypedDict):
    stage: int | None
    instruction: int | None
    others: tuple[tuple[int, int], ...]
    part_of: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class _Log:
    """The first and the last log lines of a step; its error is at the end."""

    first: list[LogLine] = field(default_factory=list[LogLine])
    last: deque[LogLine] = field(default_factory=lambda: deque[LogLine](maxlen=MAX_LINES // 2))
    rest: dict[int, bytes] = field(default_factory=dict[int, bytes])
    dropped: int = 0

    def add(self, line: LogLine) -> None:
        if len(self.first) < MAX_LINES // 2:
            self.first.append(line)
            return
        self.dropped += len(self.last) == self.last.maxlen
        self.last.append(line)

    def lines(self) -> tuple[LogLine, ...]:
        gap = self.last[0].time if self.dropped else 0.0
        left_out = [LogLine(gap, 1, f"[{self.dropped} lines left out]")] if self.dropped else []
        return (*self.first, *left_out, *self.last)


class StatusCollector:
    """Collects the vertices of a build from its status messages.

    In further attempts (see `start_attempt`), a vertex keeps the digest of the first attempt.

    Parameters
    ----------
    dockerfile
        The Dockerfile of the build.
    mask
        Hides secrets in log lines and errors.
    """

    def __init__(self, dockerfile: Dockerfile, mask: Callable[[str], str]) -> None:
        self._dockerfile = dockerfile
        self._locations: Mapping[str, OpLocation] = {}
        self._mask = mask
        self._vertices: dict[str, Vertex] = {}
        self._logs: dict[str, _Log] = {}
        # Our digest by the engine's; for a further attempt also by name, and the digests that ran.
        self._digests: dict[str, str] = {}
        self._named: dict[str, str] = {}
        self._ran: set[str] = set()

    def start_attempt(self) -> list[Vertex]:
        """Prepare for a further attempt of the same build, and return the vertices that wait again.

        A vertex that ran stays so, although the engine will find it in its cache.
        """
        done = {
            d for d, vertex in self._vertices.items() if vertex.completed is not None and not vertex.error
        }
        waiting = {
            digest: replace(vertex, cached=False, started=None, completed=None, error="")
            for digest, vertex in self._vertices.items()
            if digest not in done
        }
        self._vertices |= waiting
        for digest in waiting:
            self._logs.pop(digest, None)
        self._ran = done
        self._digests = {}
        self._locations = {}
        self._named = {vertex.name: digest for digest, vertex in self._vertices.items()}
        return list(waiting.values())

    @property
    def digests(self) -> Collection[str]:
        """The engine's digests of the vertices in this attempt."""
        return self._digests.keys()

    @property
    def has_steps(self) -> bool:
        """Whether the build got as far as steps of the Dockerfile."""
        return any(vertex.inputs or vertex.instructions for vertex in self._vertices.values())

    def locate(self, locations: Mapping[str, OpLocation]) -> list[Vertex]:
        """Locate the vertices by their digests from now on, and return those that move to other instructions.

        Parameters
        ----------
        locations
            The location of each vertex by the engine's digest. Others are located by their names.
        """
        self._locations = locations
        moved: list[Vertex] = []
        for theirs, digest in self._digests.items():
            if (known := self._vertices.get(digest)) is None:
                continue
            vertex = replace(known, **self._location(theirs, known.name))
            if vertex != known:
                self._vertices[digest] = vertex
                moved.append(self._with_logs(vertex))
        return moved

    def _location(self, digest: str, name: str) -> _Location:
        named = locate_vertex(self._dockerfile, name)
        found = self._locations.get(digest) or OpLocation(() if named is None else (named,))
        # If there are several instructions, the one in the name comes first.
        at = sorted(found.instructions, key=lambda one: one != named)
        stage, instruction = at[0] if at else (None, None)
        return {
            "stage": stage,
            "instruction": instruction,
            "others": tuple(at[1:]),
            "part_of": found.part_of,
        }

    def add(self, status: StatusResponse) -> list[tuple[Vertex, tuple[LogLine, ...]]]:
        """Add a status message, and return the vertices that it changed, each with its new log lines."""
        fresh: dict[str, list[LogLine]] = {}
        for wire in status.vertexes:
            if wire.digest not in self._digests:
                self._digests[wire.digest] = self._named.pop(_name(wire), wire.digest)
        for wire in status.vertexes:
            digest = self._digests[wire.digest]
            self._vertices[digest] = self._merge(digest, wire)
            fresh.setdefault(digest, [])
        for log in status.logs:
            digest = self._digests.get(log.vertex, log.vertex)
            lines = self._append(digest, _seconds(log.timestamp) or 0.0, log.stream, log.msg)
            fresh.setdefault(digest, []).extend(lines)
        return [
            (self._with_logs(self._vertices[digest]), tuple(lines))
            for digest, lines in fresh.items()
            if digest in self._vertices
        ]

    def vertices(self) -> tuple[Vertex, ...]:
        """Return all vertices with their logs: BuildKit's internal ones first, then in order.

        BuildKit reports the vertices of a stage in any order if all of them are cached.
        """
        for digest, log in self._logs.items():
            for stream, rest in log.rest.items():
                if rest:
                    self._append(digest, lines[-1].time if (lines := log.lines()) else 0.0, stream, b"\n")
        return tuple(sorted(map(self._with_logs, self._without_lookups()), key=_place))

    def _merge(self, digest: str, wire: WireVertex) -> Vertex:
        known = self._vertices.get(digest)
        if known and digest in self._ran:
            if wire.cached or not wire.HasField("started"):
                return known
            # It runs again, as every step does without the cache.
            self._ran.remove(digest)
            self._logs.pop(digest, None)
            known = replace(known, cached=False, started=None, completed=None)
        location = self._location(wire.digest, wire.name) if known is None else _location_of(known)
        started = _seconds(wire.started) if wire.HasField("started") else None
        completed = _seconds(wire.completed) if wire.HasField("completed") else None
        inputs = tuple(self._digests.get(each, each) for each in wire.inputs)
        return Vertex(
            digest=digest,
            name=_name(wire),
            inputs=inputs or (known.inputs if known else ()),
            cached=wire.cached or bool(known and known.cached),
            # A vertex may run several times: the first start and the last end count.
            started=known.started if known and known.started is not None else started,
            completed=completed if completed is not None else (known.completed if known else None),
            error=plain_line(self._mask(wire.error).replace("\n", " ")),
            **location,
        )

    def _without_lookups(self) -> Iterator[Vertex]:
        """Mark steps as cached that BuildKit only looked up.

        A step without inputs (WORKDIR on scratch) is reported as started when BuildKit computes its cache
        key. If the steps that build on it come from the cache, its result is not needed, and it does not run.
        """
        following: defaultdict[str, list[Vertex]] = defaultdict(list)
        for vertex in self._vertices.values():
            for digest in vertex.inputs:
                following[digest].append(vertex)
        for vertex in self._vertices.values():
            after = following[vertex.digest]
            looked_up = vertex.instruction and not vertex.inputs and all(each.cached for each in after)
            stages = {stage for each in after for stage, _ in (*each.instructions, *each.part_of)}
            if looked_up and any(self._builds_on(stage, vertex.stage) for stage in stages):
                vertex = replace(vertex, cached=True)
            yield vertex

    def _builds_on(self, stage: int | None, base: int | None) -> bool:
        """Return whether a stage is another one or begins with it."""
        while stage is not None and stage != base:
            stage = self._dockerfile.stages[stage].base_stage
        return stage is not None

    def _with_logs(self, vertex: Vertex) -> Vertex:
        log = self._logs.get(vertex.digest)
        return replace(vertex, logs=log.lines()) if log else vertex

    def _append(self, digest: str, time: float, stream: int, data: bytes) -> list[LogLine]:
        log = self._logs.setdefault(digest, _Log())
        # Only whole lines are decoded, because a message may end within a character.
        *lines, rest = (log.rest.get(stream, b"") + data).split(b"\n")
        log.rest[stream] = rest[-64 * 1024 :]
        made = [LogLine(time, stream, *styled(self._mask(line.decode("utf-8", "replace")))) for line in lines]
        for line in made:
            log.add(line)
        return made


def _name(wire: WireVertex) -> str:
    return plain_line(wire.name.replace("\n", " "))


def _location_of(vertex: Vertex) -> _Location:
    return {
        "stage": vertex.stage,
        "instruction": vertex.instruction,
        "others": vertex.others,
        "part_of": vertex.part_of,
    }


def _place(vertex: Vertex) -> tuple[int, int]:
    return next(iter((*vertex.instructions, *vertex.part_of)), (-1, -1))


def _seconds(stamp: Timestamp) -> float | None:
    return stamp.seconds + stamp.nanos / 1e9 if stamp.seconds else None
