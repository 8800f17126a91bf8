"""Files of every stage after every instruction, without exporting an image.

The engine shows what its cache holds (see prober.py). Where nothing can have changed since an earlier
exploration, it is not asked at all (see known.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stagelens.buildkit import BuildRequest, Cancel
from stagelens.builds import BuildTrace, OnVertex
from stagelens.concurrency import CallbackRelay, run_cancellable
from stagelens.dockerfile import Instruction, Stage, StageNotFound
from stagelens.engine import Engine
from stagelens.errors import StagelensError, short_traceback_on_interrupt
from stagelens.paths import cache_dir
from stagelens.snapshot.changes import Diff, diff
from stagelens.snapshot.inspection import Project, StageInspector
from stagelens.snapshot.points import CopyPaths, Point, listed_points, source_point, stage_points
from stagelens.snapshot.snapshot_cache import BuildSnapshots, SnapshotCache, build_key
from stagelens.snapshot.table import FileTable, path_key

CONTENT_BYTES = 64 * 1024
_EMPTY = FileTable.from_entries(())


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

    `copies` are what its COPYs take and where they put that, as far as the engine told.
    """

    trace: BuildTrace
    stages: tuple[StageFiles, ...]
    context: Path
    request: BuildRequest
    engine: Engine
    copies: Mapping[Point, CopyPaths] = field(default_factory=dict[Point, CopyPaths])

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
    cache_folder: Path | None = None,
) -> Exploration:
    """List the files of every stage that `trace`'s build needed; pass the build's own arguments again.

    What was listed is kept in the folder `keep`, by default one in the user's cache, for the next time.

    Raises
    ------
    ExplorationFailed: the probe's build failed, for example since the context changed meanwhile and its build
        fails now. StagelensError: the engine has no BuildKit, or one older than 0.8.
    """
    _check(trace, Path(context))
    dockerfile = trace.dockerfile
    request = BuildRequest(
        dockerfile=str(Path(dockerfile.path).absolute()),  # an ignore file may lie beside it
        build_args=dict(build_args or {}),
        network=network,
        platform=platform,
    )
    needed = dockerfile.needed_stages(trace.target)
    cache = SnapshotCache(cache_folder or cache_dir() / "stages")
    key = build_key(engine, trace, request, Path(context))
    sources = listed_points(dockerfile, needed)
    found = cache.load_build(key, trace)
    if found is None or {point for point in sources.values() if point} - found.snapshots.keys():
        stop = cancel or Cancel()

        def look(relay: CallbackRelay) -> BuildSnapshots:
            project = Project(dockerfile, Path(context), request)
            probe = StageInspector(engine, project, relay.wrap(on_vertex), stop)
            seen = probe.explored(needed, sources, cache)
            cache.store_build(key, probe.time, seen)
            return seen

        found = run_cancellable(look, stop)
    stages: list[StageFiles] = []
    for index in needed:
        stage = dockerfile.stages[index]
        tables: list[FileTable] = []
        for instruction in stage.instructions:
            point = Point(index, instruction.index)
            if point in sources:
                source = sources[point]
                tables.append(found.snapshots[source].table if source else _EMPTY)
            else:
                tables.append(tables[-1])
        stages.append(StageFiles(stage, tuple(tables)))
    return Exploration(trace, tuple(stages), Path(context), request, engine, found.copies)


def _check(trace: BuildTrace, context: Path) -> None:
    if trace.backend == "classic":
        raise StagelensError(
            "Looking into stages needs BuildKit.",
            why="this engine has only the classic builder",
            remedy="use Docker Engine 20.10 or newer: stagelens doctor",
        )
    if context.is_file():
        raise StagelensError(
            "Looking into stages needs the build context as a folder.",
            where=str(context),
            remedy="unpack the archive, and explore the folder",
        )


@short_traceback_on_interrupt()
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
    dockerfile = exploration.trace.dockerfile
    last = max((p for p in stage_points(files.stage) if p.instruction <= index), key=lambda p: p.instruction)
    point = source_point(dockerfile, last)
    if point is None:
        raise StagelensError(f"There is no file {path!r} there.", where=place)
    stop = Cancel()
    project = Project(dockerfile, exploration.context, exploration.request)
    probe = StageInspector(exploration.engine, project, cancel=stop)
    needed, key = dockerfile.needed_stages(exploration.trace.target), path_key(entry.path)
    data = run_cancellable(lambda _: probe.content(needed, point, key, CONTENT_BYTES), stop)
    return FileContent(data, entry.size, _is_binary(data))


def _is_binary(data: bytes) -> bool:
    if b"\0" in data:
        return True
    try:
        data.decode()
    except UnicodeDecodeError as error:
        # A character that the cut went through is no sign.
        return error.start < len(data) - 4
    return False
