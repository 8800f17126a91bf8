"""Files of every stage after every instruction, without exporting an image.

The probe (see split.py) is a build like any other; BuildKit runs only what it has not run before, and a
listing that it has made once comes from its cache. Such a listing is taken only if it is of the very snapshot
that the engine has now; else it is made again, under a key that holds the snapshot's identity. Where nothing
can have changed since an earlier exploration, the engine is not asked at all (see known.py).
"""

from __future__ import annotations

import hashlib
import io
import secrets
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stagelens.build import BuildFailed, BuildTrace, Job, run
from stagelens.build.run import OnVertex
from stagelens.buildkit import BuildRequest, Cancel, FileSend
from stagelens.dockerfile import Dockerfile, Instruction, Stage, StageNotFound, parse
from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens.paths import cache_dir
from stagelens.snapshot.diff import Diff, diff
from stagelens.snapshot.known import Known, Snapshot, build_key
from stagelens.snapshot.listing import list_command
from stagelens.snapshot.split import Plan, Point, listed_points, plan, single, source_point, tips_of
from stagelens.snapshot.table import FileTable

PROBE_IMAGE = "diamol/base"
CONTENT_BYTES = 64 * 1024
# A BuildKit under load gives up where many steps want the same thing at once (util/flightcontrol, its
# errRetryTimeout; seen with Engine 20.10 and 60 steps).
_HICCUP = "flightcontrol: exceeded retry timeout"
_ATTEMPTS = 4
# How often a listing is asked for again because the project was built anew meanwhile.
_ROUNDS = 4
_MAX_RESULT_BYTES = 2 * 1024**3
_EMPTY = FileTable.from_entries(())


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


@dataclass(frozen=True, slots=True)
class StageFiles:
    """A stage with its files after each of its instructions: `tables[i]` belongs to `instructions[i]`.

    `base` is what the stage began with as far as a change goes: nothing, for its FROM.
    """

    stage: Stage
    tables: tuple[FileTable, ...]

    @property
    def final(self) -> FileTable:
        """The files after the last instruction."""
        return self.tables[-1]

    def changes(self, instruction: Instruction | int) -> Diff:
        """What one instruction did to the files; a FROM brings everything it has as added."""
        index = instruction if isinstance(instruction, int) else instruction.index
        return diff(self.tables[index - 1] if index else _EMPTY, self.tables[index])


@dataclass(frozen=True, slots=True)
class Exploration:
    """A build with the files of its stages, in order of the Dockerfile; `engine` serves file contents.

    `identities` names the engine's snapshot of each point, where it is known.
    """

    trace: BuildTrace
    stages: tuple[StageFiles, ...]
    context: Path
    request: BuildRequest
    engine: Engine
    identities: Mapping[Point, str] = field(default_factory=dict[Point, str])

    def stage(self, reference: str | int | None = None) -> StageFiles:
        """The files of the stage with that name or index; the target's without one.

        Raises
        ------
        StageNotFound (a KeyError): there is no such stage, or the build did not need it.
        """
        if reference is None:
            return self.stages[-1]
        index = self.trace.dockerfile.stage(reference).index
        for files in self.stages:
            if files.stage.index == index:
                return files
        built = [files.stage.label for files in self.stages]
        why = "this build does not need it"
        raise StageNotFound(reference, self.trace.dockerfile.path, built, why)


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file's first bytes; `binary` where they are no text; `size` is that of the whole file."""

    data: bytes
    size: int
    binary: bool

    @property
    def truncated(self) -> bool:
        """Whether the file goes on."""
        return len(self.data) < self.size

    @property
    def text(self) -> str:
        """The bytes as text, what is not UTF-8 replaced."""
        return self.data.decode("utf-8", "replace")


def explore(
    engine: Engine,
    context: str | Path,
    trace: BuildTrace,
    *,
    build_args: Mapping[str, str | None] | None = None,
    network: str | None = None,
    platform: str | None = None,
    on_vertex: OnVertex | None = None,
    cancel: Cancel | None = None,
    keep: Path | None = None,
) -> Exploration:
    """List the files of every stage that `trace`'s build needed; pass the build's own arguments again.

    What was listed is kept in the folder `keep`, by default one in the user's cache, for the next time.

    Raises
    ------
    ProbeFailed: the probe's build failed, for example since the context changed meanwhile and its build
        fails now. StagelensError: the engine has no BuildKit.
    """
    _check(trace, Path(context))
    dockerfile = trace.dockerfile
    request = BuildRequest(
        dockerfile=str(Path(dockerfile.path).absolute()),  # an ignore file may lie beside it
        build_args=dict(build_args or {}),
        network=network,
        platform=platform,
    )
    needed = dockerfile.needed(trace.target)
    known = Known(keep or cache_dir() / "stages")
    key = build_key(engine, trace, request, Path(context))
    sources = listed_points(dockerfile, needed)
    snapshots = known.build(key, trace)
    if snapshots is None or {point for point in sources.values() if point} - snapshots.keys():
        probe = _Probe(engine, Path(context), request, on_vertex, cancel)
        snapshots = probe.snapshots(dockerfile, needed, sources, known)
        known.keep_build(key, probe.time, snapshots)
    stages: list[StageFiles] = []
    for index in needed:
        stage = dockerfile.stages[index]
        tables: list[FileTable] = []
        for instruction in stage.instructions:
            point = Point(index, instruction.index)
            if point in sources:
                source = sources[point]
                tables.append(snapshots[source].table if source else _EMPTY)
            else:
                tables.append(tables[-1])
        stages.append(StageFiles(stage, tuple(tables)))
    identities = {point: snapshots[source].identity for point, source in sources.items() if source}
    return Exploration(trace, tuple(stages), Path(context), request, engine, identities)


def _check(trace: BuildTrace, context: Path) -> None:
    if trace.backend == "classic":
        raise StagelensError(
            "Looking into stages needs BuildKit.",
            why="this engine has only the classic builder",
            remedy="use Docker Engine 18.09 or newer: stagelens doctor",
        )
    if context.is_file():
        raise StagelensError(
            "Looking into stages needs the build context as a folder.",
            where=str(context),
            remedy="unpack the archive, and explore the folder",
        )


def read_file(exploration: Exploration, stage: str | int, instruction: int | None, path: str) -> FileContent:
    """The first 64 KiB of a file as it is after an instruction (the stage's last unless told).

    Raises
    ------
    KeyError: no such stage. StagelensError: the file is not there, or is no regular file.
    """
    files = exploration.stage(stage)
    index = len(files.tables) - 1 if instruction is None else instruction
    entry = files.tables[index].get(path.strip("/"))
    place = f"{files.stage.label}, after line {files.stage.instructions[index].end_line}"
    if entry is None:
        raise StagelensError(f"There is no file {path!r} there.", where=place)
    if entry.kind != "file":
        raise StagelensError(f"{path!r} is a {entry.kind}, it has no content.", where=place)
    name = "".join(f"\\0{byte:03o}" for byte in entry.path.encode("utf-8", "surrogateescape"))
    # The x keeps a name's last newline, which $(...) would drop.
    command = f"p=$(printf '%bx' '{name}') && $B head -c {CONTENT_BYTES} \"./${{p%x}}\" > $O/content"
    dockerfile = exploration.trace.dockerfile
    point = source_point(dockerfile, Point(files.stage.index, index)) or Point(files.stage.index, index)
    mark = exploration.identities.get(point, "")
    todo = single(dockerfile, point, PROBE_IMAGE, command, mark)
    probe = _Probe(exploration.engine, exploration.context, exploration.request)
    data = probe.run(todo)["content"]
    return FileContent(data, entry.size, _is_binary(data))


def list_image(engine: Engine, image: str, cancel: Cancel | None = None) -> FileTable:
    """The files of an image that the engine has, under a name of it; nothing is exported.

    Raises
    ------
    ProbeFailed: the probe's build failed. BuildCancelled: `cancel` was called.
    """
    text = (
        f"FROM {PROBE_IMAGE} AS lister\n"
        f"RUN --mount=type=bind,from={image},target=/m {list_command('/m', '/o')}\n"
        f"FROM scratch AS listed\nCOPY --from=lister /o/ /\n"
    )
    with tempfile.TemporaryDirectory(prefix="stagelens-") as empty:
        request = BuildRequest(network="none")
        todo = Plan(text, "listed", {}, {})
        parts = _Probe(engine, Path(empty), request, cancel=cancel).run(todo)
    return Known(cache_dir() / "stages").snapshot(parts, "").table


class _Probe:
    """Builds a project's probes; `time` is when the last one ended, by the engine's clock (Unix seconds)."""

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
        self.time = 0.0

    def snapshots(
        self,
        dockerfile: Dockerfile,
        stages: Sequence[int],
        sources: Mapping[Point, Point | None],
        known: Known,
    ) -> dict[Point, Snapshot]:
        """The snapshots at the points that are listed, each as the engine has it now."""
        tips = tips_of(dockerfile, stages)
        ends = {source: tips[point.stage] for point, source in sources.items() if source}
        wanted = dict.fromkeys(ends, "")
        found: dict[Point, Snapshot] = {}
        for _ in range(_ROUNDS):
            if not wanted:
                return found
            todo = plan(dockerfile, wanted, ends, PROBE_IMAGE, now := secrets.token_hex(8))
            result = _folders(self.run(todo))
            for point, folder in todo.folders.items():
                chain = _chain(result.get(folder, {}))
                last = _chain(result.get(todo.tips[point], {}))
                if chain == last[-len(chain) :] if chain else wanted[point]:
                    found[point] = known.snapshot(result[folder], _identity(chain))
                    del wanted[point]
                else:
                    # An engine that does not say which snapshot is which lists anew each time.
                    wanted[point] = _identity(last) or now
        raise StagelensError(
            "The stages are being built anew all the time.",
            where=dockerfile.path,
            remedy="explore again when the other builds of this project have ended",
        )

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
                trace = run(self._engine, job, parsed, self._on_vertex, self._cancel, "session")
            except BuildFailed as failed:
                if _HICCUP in str(failed) and attempt + 1 < _ATTEMPTS:
                    continue  # what was done by now comes from the cache
                raise ProbeFailed(failed) from failed
            self.time = max((vertex.completed or 0.0 for vertex in trace.vertices), default=0.0)
            output.seek(0)
            return _read_tar(output)
        raise AssertionError("the last attempt returns or raises")


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


def _is_binary(data: bytes) -> bool:
    if b"\0" in data:
        return True
    try:
        data.decode()
    except UnicodeDecodeError as error:
        # A character that the cut went through is no sign.
        return error.start < len(data) - 4
    return False
