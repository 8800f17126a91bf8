"""Files of every stage after every instruction, without exporting an image.

The probe (see split.py) is a build like any other; BuildKit runs only what it has not run before, and a
listing that it has made once comes from its cache. Listings that are known here are not parsed again.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stagelens.build import BuildFailed, BuildTrace, Job, run
from stagelens.build.run import OnVertex
from stagelens.buildkit import BuildRequest, Cancel, FileSend
from stagelens.dockerfile import Instruction, Stage, parse
from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens.snapshot.diff import Diff, diff
from stagelens.snapshot.listing import PARTS, ListingError, list_command, read_listing
from stagelens.snapshot.split import Plan, Point, plan, points, single
from stagelens.snapshot.table import FileTable

PROBE_IMAGE = "diamol/base"
CONTENT_BYTES = 64 * 1024
# A BuildKit under load gives up where many steps want the same thing at once (util/flightcontrol, its
# errRetryTimeout; seen with Engine 20.10 and 60 steps).
_HICCUP = "flightcontrol: exceeded retry timeout"
_ATTEMPTS = 4
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
    """A build with the files of its stages, in order of the Dockerfile; `engine` serves file contents."""

    trace: BuildTrace
    stages: tuple[StageFiles, ...]
    context: Path
    request: BuildRequest
    engine: Engine

    def stage(self, reference: str | int | None = None) -> StageFiles:
        """The files of the stage with that name or index; the target's without one.

        Raises
        ------
        KeyError: there is no such stage, or the build did not need it.
        """
        if reference is None:
            return self.stages[-1]
        index = self.trace.dockerfile.stage(reference).index
        for files in self.stages:
            if files.stage.index == index:
                return files
        raise KeyError(reference)


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
) -> Exploration:
    """List the files of every stage that `trace`'s build needed; pass the build's own arguments again.

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
    todo = plan(dockerfile, needed, PROBE_IMAGE)
    found = _run(engine, Path(context), request, todo, on_vertex, cancel)
    listings = _read_tar(found)
    stages: list[StageFiles] = []
    for index in needed:
        stage = dockerfile.stages[index]
        changing = {point.instruction: todo.folders[point] for point in points(stage)}
        tables: list[FileTable] = []
        for instruction in stage.instructions:
            folder = changing.get(instruction.index)
            if folder is None:
                tables.append(tables[-1])
            else:
                tables.append(_table(listings, folder) if folder else _EMPTY)
        stages.append(StageFiles(stage, tuple(tables)))
    return Exploration(trace, tuple(stages), Path(context), request, engine)


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
    command = f"p=$(printf '%bx' '{name}') && head -c {CONTENT_BYTES} \"/m/${{p%x}}\" > /o/content"
    todo = single(exploration.trace.dockerfile, Point(files.stage.index, index), PROBE_IMAGE, command)
    result = _run(exploration.engine, exploration.context, exploration.request, todo, None, None)
    data = _read_tar(result)["content"]
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
        todo = Plan(text, "listed", {})
        parts = _read_tar(_run(engine, Path(empty), request, todo, None, cancel))
    return _table({f"o/{name}": content for name, content in parts.items()}, "o")


def _run(
    engine: Engine,
    context: Path,
    request: BuildRequest,
    todo: Plan,
    on_vertex: OnVertex | None,
    cancel: Cancel | None,
) -> io.BytesIO:
    request = replace(request, target=todo.target)
    parsed = parse(todo.text, request.dockerfile)
    for attempt in range(_ATTEMPTS):
        output = io.BytesIO()
        job = Job(context, request, todo.text, output=FileSend(output, _MAX_RESULT_BYTES))
        try:
            run(engine, job, parsed, on_vertex, cancel, "session")
        except BuildFailed as failed:
            if _HICCUP in str(failed) and attempt + 1 < _ATTEMPTS:
                continue  # what was done by now comes from the cache
            raise ProbeFailed(failed) from failed
        output.seek(0)
        return output
    raise AssertionError("the last attempt returns or raises")


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


class _Known:
    """Tables of listings that were read before, the last used ones kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tables: OrderedDict[bytes, FileTable] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, names: bytes, facts: bytes, links: bytes) -> FileTable:
        digest = hashlib.sha256()
        for part in (names, facts, links):
            digest.update(len(part).to_bytes(8, "big") + part)
        key = digest.digest()
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
        table = read_listing(names, facts, links)
        with self._lock:
            self._tables[key] = table
            if len(self._tables) > self._limit:
                self._tables.popitem(last=False)
        return table


_known = _Known(64)


def _table(listings: Mapping[str, bytes], folder: str) -> FileTable:
    try:
        names, facts, links = (listings[f"{folder}/{part}"] for part in PARTS)
    except KeyError as error:
        raise ListingError("The probe's result lacks a listing.", where=folder) from error
    return _known.get(names, facts, links)
