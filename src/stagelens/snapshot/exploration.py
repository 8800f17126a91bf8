"""Files of every stage after every instruction, without exporting an image.

The engine shows what its cache holds (see `inspection`). If nothing can have changed since an earlier
exploration, the engine is not asked (see `snapshot_cache`).
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
    """A stage with its files after each of its instructions.

    Attributes
    ----------
    stage
        The stage of the Dockerfile.
    tables
        The files after each instruction: `tables[i]` belongs to `stage.instructions[i]`.
    """

    stage: Stage
    tables: tuple[FileTable, ...]

    @property
    def final(self) -> FileTable:
        """The files after the last instruction."""
        return self.tables[-1]

    def changes(self, instruction: Instruction | int) -> Diff:
        """Compare the files before and after one instruction.

        Parameters
        ----------
        instruction
            The instruction or its index. A FROM adds all files of its base image or stage.

        Returns
        -------
        Diff
            The entries that the instruction added, removed and changed.
        """
        index = instruction if isinstance(instruction, int) else instruction.index
        return diff(self.tables[index - 1] if index else _EMPTY, self.tables[index])


@dataclass(frozen=True, slots=True)
class Exploration:
    """A build with the files of its stages.

    Attributes
    ----------
    trace
        The build.
    stages
        The stages that the build needed, in order of the Dockerfile.
    context
        The folder that was built.
    request
        What was asked of the engine.
    engine
        The engine that has the build, and serves the contents of files.
    copies
        The paths that COPY instructions read and write, as far as the engine reports them.
    """

    trace: BuildTrace
    stages: tuple[StageFiles, ...]
    context: Path
    request: BuildRequest
    engine: Engine
    copies: Mapping[Point, CopyPaths] = field(default_factory=dict[Point, CopyPaths])

    def stage(self, reference: str | int | None = None) -> StageFiles:
        """Return the files of a stage.

        Parameters
        ----------
        reference
            The name or index of the stage; None for the stage that was built.

        Raises
        ------
        StageNotFound
            If the Dockerfile has no such stage, or the build did not need it. It is a KeyError.
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
    """The first bytes of a file.

    Attributes
    ----------
    data
        The bytes.
    size
        The size of the whole file.
    binary
        Whether the bytes are not text.
    """

    data: bytes
    size: int
    binary: bool

    @property
    def truncated(self) -> bool:
        """Whether the file has more bytes than `data`."""
        return len(self.data) < self.size

    @property
    def text(self) -> str:
        """The bytes as text; bytes that are not UTF-8 are replaced."""
        return self.data.decode("utf-8", "replace")


def explore(
    engine: Engine,
    context: str | Path,
    trace: BuildTrace,
    *,
    on_vertex: OnVertex | None = None,
    cancel: Cancel | None = None,
    cache_folder: Path | None = None,
) -> Exploration:
    """List the files of every stage that a build needed.

    Parameters
    ----------
    engine
        The engine that has the build.
    context
        The folder that was built.
    trace
        The build.
    on_vertex
        A function that is called for each vertex that changes, with its new log lines.
    cancel
        A handle that ends the work.
    cache_folder
        Where listings are stored for the next time, by default a folder in the user's cache.

    Returns
    -------
    Exploration
        The stages, in order of the Dockerfile.

    Raises
    ------
    ExplorationFailed
        If the engine cannot show the files: the context may have changed, so that its build fails now.
    StagelensError
        If the engine has no BuildKit, or one older than 0.8.
    BuildCancelled, ConnectionLost, EngineFault
        If the work was cancelled, or the engine failed.
    """
    _check(trace, Path(context))
    dockerfile = trace.dockerfile
    request = BuildRequest(
        dockerfile=str(Path(dockerfile.path).absolute()),  # an ignore file may lie beside it
        build_args=trace.request.build_args,
        network=trace.request.network,
        platform=trace.request.platform,
        contexts=trace.request.contexts,
    )
    needed = trace.needed_stages
    cache = SnapshotCache(cache_folder or cache_dir() / "stages")
    key = build_key(engine, trace, request, Path(context))
    sources = listed_points(dockerfile, needed)
    found = cache.load_build(key, trace)
    if found is None or {point for point in sources.values() if point} - found.snapshots.keys():
        stop = cancel or Cancel()

        def inspect(relay: CallbackRelay) -> BuildSnapshots:
            project = Project(dockerfile, Path(context), request, trace.build_contexts)
            inspector = StageInspector(engine, project, relay.wrap(on_vertex), stop)
            listed = inspector.list_points(needed, sources, cache)
            cache.store_build(key, inspector.time, listed)
            return listed

        found = run_cancellable(inspect, stop)
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
    """Read the first 64 KiB of a file of a stage.

    Parameters
    ----------
    exploration
        A build that was explored.
    stage
        The name or index of the stage.
    instruction
        The index of the instruction after which the file is read; None for the last one.
    path
        The path of the file, with or without a slash at its start.

    Returns
    -------
    FileContent
        The first bytes of the file.

    Raises
    ------
    StageNotFound
        If there is no such stage. It is a KeyError.
    StagelensError
        If there is no such file, or it is not a regular file.
    """
    files = exploration.stage(stage)
    index = len(files.tables) - 1 if instruction is None else instruction
    entry = files.tables[index].get(path.strip("/"))
    location = f"{files.stage.label}, after line {files.stage.instructions[index].end_line}"
    if entry is None:
        raise StagelensError(f"This stage has no file {path!r}.", where=location)
    if entry.kind != "file":
        raise StagelensError(f"{path!r} is a {entry.kind} and has no content.", where=location)
    dockerfile = exploration.trace.dockerfile
    last = max((p for p in stage_points(files.stage) if p.instruction <= index), key=lambda p: p.instruction)
    point = source_point(dockerfile, last)
    if point is None:
        raise StagelensError(f"This stage has no file {path!r}.", where=location)
    stop = Cancel()
    project = Project(dockerfile, exploration.context, exploration.request, exploration.trace.build_contexts)
    inspector = StageInspector(exploration.engine, project, cancel=stop)
    needed, key = exploration.trace.needed_stages, path_key(entry.path)
    data = run_cancellable(lambda _: inspector.read_content(needed, point, key, CONTENT_BYTES), stop)
    return FileContent(data, entry.size, _is_binary(data))


def _is_binary(data: bytes) -> bool:
    if b"\0" in data:
        return True
    try:
        data.decode()
    except UnicodeDecodeError as error:
        # The cut may have split a character.
        return error.start < len(data) - 4
    return False
