"""Builds that look into the stages, on the engine.

BuildKit runs only what it has not run before, and a listing that it has made once comes from its cache. Such
a listing is taken only if it is of the very snapshot that the engine has now; else it is made again, under a
key that holds the snapshot's identity.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stagelens.build import BuildFailed, BuildTrace, Job, run
from stagelens.build.run import OnVertex
from stagelens.buildkit import BuildRequest, Cancel, FileSend
from stagelens.dockerfile import Dockerfile, parse
from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens.snapshot.known import Guess, Known, Snapshot
from stagelens.snapshot.split import Plan, Point, plan, tips_of

PROBE_IMAGE = "diamol/base"
# A BuildKit under load gives up where many steps want the same thing at once (util/flightcontrol, its
# errRetryTimeout; seen with Engine 20.10 and 60 steps).
_HICCUP = "flightcontrol: exceeded retry timeout"
_ATTEMPTS = 4
# How often a listing is asked for again because the project was built anew meanwhile.
_ROUNDS = 4
_NETWORKS_SINCE = 23  # Engine's first release with Dockerfile syntax 1.3 or later built in
_MAX_RESULT_BYTES = 2 * 1024**3


class ProbeFailed(StagelensError):
    """The build that lists files failed; `failed` is its error, in terms of the probe's own Dockerfile."""

    def __init__(self, failed: BuildFailed) -> None:
        self.failed = failed
        super().__init__(
            "The engine could not look into the stages.",
            where=failed.instruction.source[:200] if failed.instruction else None,
            why=failed.why,
            remedy="build the project again: its steps must be in the engine's cache; then stagelens doctor",
        )


class Prober:
    """Builds a project's probes."""

    def __init__(
        self,
        engine: Engine,
        context: Path,
        request: BuildRequest,
        on_vertex: OnVertex | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        self._engine = engine
        self._context = context
        self._request = request
        self._on_vertex = on_vertex
        self._cancel = cancel
        self._trace: BuildTrace | None = None

    @property
    def time(self) -> float:
        """When the last probe ended, by the engine's clock in Unix seconds."""
        vertices = self._trace.vertices if self._trace else ()
        return max((vertex.completed or 0.0 for vertex in vertices), default=0.0)

    def snapshots(
        self,
        build: BuildTrace,
        stages: Sequence[int],
        sources: Mapping[Point, Point | None],
        known: Known,
        guesses: Mapping[Point, Guess],
    ) -> dict[Point, Snapshot]:
        """The snapshots at the points that are listed, each as the engine has it now.

        A point of `guesses` is not listed again if the engine has that very snapshot in its chain.
        """
        tips = tips_of(build.dockerfile, stages)
        ends = {source: tips[point.stage] for point, source in sources.items() if source}
        wanted = {point: "" for point in ends if point not in guesses or _ran(build, point)}
        new = {tip for tip in tips.values() if _ran(build, tip)}
        offline = _knows_networks(self._engine, build.dockerfile)
        found: dict[Point, Snapshot] = {}
        for _ in range(_ROUNDS):
            waiting = {point: tip for point, tip in ends.items() if point not in found}
            if not waiting:
                return found
            now = secrets.token_hex(8)
            todo = plan(build.dockerfile, wanted, waiting, PROBE_IMAGE, now, new=new, offline=offline)
            result = _folders(self.run(todo))
            new = set[Point]()
            for point in waiting:
                if not self._made(todo, todo.tips[point]):
                    continue  # it was no new one after all
                last = _chain(result.get(todo.tips[point], {}))
                listing = result.get(todo.folders.get(point, ""), {})
                chain = _chain(listing)
                if point in wanted and (chain == last[-len(chain) :] if chain else wanted[point]):
                    found[point] = known.snapshot(listing, _identity(chain))
                    del wanted[point]
                elif point in wanted:
                    # An engine that does not say which snapshot is which lists anew each time.
                    wanted[point] = _identity(last) or now
                elif snapshot := known.guessed(guesses[point], _identities(last)):
                    found[point] = snapshot
                else:
                    wanted[point] = ""
        raise StagelensError(
            "The stages are being built anew all the time.",
            where=build.dockerfile.path,
            remedy="explore again when the other builds of this project have ended",
        )

    def _made(self, todo: Plan, folder: str) -> bool:
        """Whether a folder of the last result was made just now, and not taken from the cache."""
        if self._trace is None:
            return False
        stage = self._trace.dockerfile.stage(todo.steps[folder])
        vertex = self._trace.vertex(stage, stage.instructions[-1])
        return vertex is not None and not vertex.cached

    def run(self, todo: Plan) -> dict[str, bytes]:
        """The files that a probe made, by their paths.

        Raises
        ------
        ProbeFailed, BuildCancelled, ConnectionLost.
        """
        request = replace(self._request, target=todo.target)
        parsed = parse(todo.text, request.dockerfile)
        for attempt in range(_ATTEMPTS):
            output = io.BytesIO()
            job = Job(self._context, request, todo.text, output=FileSend(output, _MAX_RESULT_BYTES))
            try:
                self._trace = run(self._engine, job, parsed, self._on_vertex, self._cancel, "session")
            except BuildFailed as failed:
                if _HICCUP in str(failed) and attempt + 1 < _ATTEMPTS:
                    continue  # what was done by now comes from the cache
                raise ProbeFailed(failed) from failed
            output.seek(0)
            return _read_tar(output)
        raise AssertionError("the last attempt returns or raises")


def _ran(build: BuildTrace, point: Point) -> bool:
    """Whether a build ran the step of a point, so that there can be no listing of it yet.

    A FROM never does, though one whose image is looked up may not be called cached.
    """
    vertex = build.vertex(point.stage, point.instruction)
    return point.instruction > 0 and vertex is not None and not vertex.cached


def _knows_networks(engine: Engine, dockerfile: Dockerfile) -> bool:
    """Whether the engine's own reader of Dockerfiles, which must be the one used, has RUN --network."""
    major = engine.info.version.partition(".")[0]
    return dockerfile.syntax is None and major.isdigit() and int(major) >= _NETWORKS_SINCE


def _folders(files: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        folder, _, name = path.partition("/")
        found.setdefault(folder, {})[name] = content
    return found


def _chain(parts: Mapping[str, bytes]) -> tuple[bytes, ...]:
    """The layers below a step's root, the uppermost first, by the engine's names for them.

    From /proc/self/mounts; () where the root is no overlay. Newer kernels write each layer as `lowerdir+=`.
    """
    for line in parts.get("mounts", b"").splitlines():
        fields = line.split(b" ")
        if len(fields) > 3 and fields[1] == b"/":
            options = [option.partition(b"=") for option in fields[3].split(b",")]
            lower = [value for name, _, value in options if name in (b"lowerdir", b"lowerdir+")]
            return tuple(layer for value in lower for layer in value.split(b":"))
    return ()


def _identities(chain: Sequence[bytes]) -> set[str]:
    """Those of all snapshots in a chain."""
    return {_identity(chain[start:]) for start in range(len(chain))}


def _identity(chain: Sequence[bytes]) -> str:
    return hashlib.sha256(b":".join(chain)).hexdigest()[:32] if chain else ""


def _read_tar(file: io.BytesIO) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                found[member.name.strip("./")] = content.read(_MAX_RESULT_BYTES)
    return found
