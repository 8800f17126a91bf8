"""Where a file of a stage came from and which later stages use it, through COPY --from and FROM."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from stagelens.dockerfile import Instruction, Stage, StageEdge, copy_paths
from stagelens.errors import short_traceback_on_interrupt
from stagelens.snapshot.exploration import Exploration, StageFiles
from stagelens.snapshot.points import CopyPaths, Point
from stagelens.snapshot.table import Entry, FileTable


@dataclass(frozen=True, slots=True)
class FileStep:
    """A step in the history of a file.

    Attributes
    ----------
    stage, instruction
        The instruction that wrote or copied the file (indexes).
    path
        The path of the file after the instruction.
    """

    stage: int
    instruction: int
    path: str


@short_traceback_on_interrupt()
def history(exploration: Exploration, stage: str | int, path: str) -> tuple[FileStep, ...]:
    """Follow a file of a stage back to where it was made.

    The history ends at an instruction that wrote the file, at a base image (a step at a FROM), at the build
    context, or at another image.

    Parameters
    ----------
    exploration
        A build that was explored.
    stage
        The name or index of the stage.
    path
        The path of a file in the final state of the stage.

    Returns
    -------
    tuple of FileStep
        The steps, last one first; none if there is no such file.

    Raises
    ------
    StageNotFound
        If there is no such stage. It is a KeyError.
    """
    steps: list[FileStep] = []
    files = exploration.stage(stage)
    wanted: str | None = path.strip("/")
    limit = len(files.tables)
    while wanted is not None:
        index = _last_change(files, wanted, limit)
        if index is None:
            break
        steps.append(FileStep(files.stage.index, index, wanted))
        instruction = files.stage.instructions[index]
        if instruction.keyword == "RUN" and files.tables[index - 1].get(wanted) is not None:
            limit = index  # changed here, made earlier
            continue
        if index == 0 and files.stage.base_stage is not None:
            files = exploration.stage(files.stage.base_stage)
        elif instruction.keyword == "COPY" and (source := _stage_edge(exploration, files, instruction)):
            entry = files.tables[index].get(wanted)
            copy = _Copy(exploration, files.stage, instruction, source.final)
            files, wanted = source, copy.source_of(entry) if entry else None
        else:
            break
        limit = len(files.tables)
    return tuple(steps)


def destinations(exploration: Exploration, stage: str | int, path: str) -> tuple[FileStep, ...]:
    """Find the later stages that use a file of a stage.

    Parameters
    ----------
    exploration
        A build that was explored.
    stage
        The name or index of the stage.
    path
        The path of a file in the final state of the stage.

    Returns
    -------
    tuple of FileStep
        Each FROM or COPY that brought the file, under any name, into a stage whose final state has it, in
        order of the Dockerfile.

    Raises
    ------
    StageNotFound
        If there is no such stage. It is a KeyError.
    """
    found: list[FileStep] = []
    waiting = [(exploration.stage(stage).stage.index, path.strip("/"))]
    while waiting:
        source, wanted = waiting.pop(0)
        for edge in exploration.trace.dockerfile.edges:
            if (
                edge.source != source
                or edge.kind not in ("copy", "from")
                or not _explored(exploration, edge.target)
            ):
                continue
            arrived = (here for path, here in _copied_files(exploration, edge) if path == wanted)
            for step in (FileStep(edge.target, edge.instruction, here) for here in arrived):
                if step not in found:
                    found.append(step)
                    waiting.append((step.stage, step.path))
    return tuple(sorted(found, key=lambda step: (step.stage, step.instruction, step.path)))


def left_behind(exploration: Exploration, stage: str | int, instruction: int | None = None) -> bytes:
    """Find the files of a stage that the target's final state does not use.

    A file is used if the final state has it at the same path and unchanged (from the same base image, for
    example), or if FROM and COPY brought it there, through any number of stages and under any name.

    Parameters
    ----------
    exploration
        A build that was explored.
    stage
        The name or index of the stage.
    instruction
        The index of the instruction after which the files are used; None for the last one.

    Returns
    -------
    bytes
        1 for each row of the stage's table that is an unused file, else 0.
    """
    files, target = exploration.stage(stage), exploration.stage()
    table = files.tables[-1 if instruction is None else instruction]
    if files is target:
        return bytes(len(table))
    used = _used_paths(exploration)[files.stage.index]
    return bytes(e.kind != "dir" and e.path not in used and target.final.get(e.path) != e for e in table)


def _used_paths(exploration: Exploration) -> dict[int, set[str]]:
    """Return for each stage the paths of its final state that reach the target's final state."""
    target = exploration.stage().stage.index
    used: dict[int, set[str]] = {files.stage.index: set() for files in exploration.stages}
    for files in reversed(exploration.stages):  # a stage that uses another one comes later in the Dockerfile
        number = files.stage.index
        for edge in exploration.trace.dockerfile.edges:
            if edge.target != number or not isinstance(edge.source, int) or edge.kind not in ("copy", "from"):
                continue
            for path, new in _copied_files(exploration, edge):
                if number == target or new in used[number]:
                    used[edge.source].add(path)
    return used


def _copied_files(exploration: Exploration, edge: StageEdge) -> Iterator[tuple[str, str]]:
    """Yield the files that an edge brought and that the target has in the end.

    Each is a pair: the path in the source, and the path in the target.
    """
    source, files = exploration.stage(edge.source), exploration.stage(edge.target)
    if edge.kind == "from":
        found = ((entry.path, entry.path) for entry in files.tables[0] if entry.kind != "dir")
    else:
        instruction = files.stage.instructions[edge.instruction]
        change = files.changes(edge.instruction)
        new = (*change.added, *(after for _, after in change.changed))
        copy = _Copy(exploration, files.stage, instruction, source.final)
        copied = ((copy.source_of(e), e.path) for e in new if e.kind != "dir")
        found = ((path, here) for path, here in copied if path is not None)
    return ((path, here) for path, here in found if files.final.get(here) is not None)


def _explored(exploration: Exploration, stage: int) -> bool:
    return any(files.stage.index == stage for files in exploration.stages)


def _last_change(files: StageFiles, path: str, limit: int) -> int | None:
    entry = files.tables[limit - 1].get(path)
    if entry is None:
        return None
    for index in range(limit - 1, 0, -1):
        if files.tables[index] is not files.tables[index - 1] and files.tables[index - 1].get(path) != entry:
            return index
    return 0


def _stage_edge(exploration: Exploration, files: StageFiles, instruction: Instruction) -> StageFiles | None:
    for edge in exploration.trace.dockerfile.edges:
        if (edge.target, edge.instruction) == (files.stage.index, instruction.index):
            return exploration.stage(edge.source) if isinstance(edge.source, int) else None
    return None


class _Copy:
    """Finds the path in the source of a COPY --from that became a path of its stage.

    The words of the COPY give candidates, which are checked against the files. COPY keeps size and time, so
    the candidate that is equal is the source. Else a candidate of the same size is used: BuildKit compares
    contents, and a COPY from its cache has the times of an earlier run.
    """

    def __init__(
        self, exploration: Exploration, stage: Stage, instruction: Instruction, source: FileTable
    ) -> None:
        copied = exploration.copies.get(Point(stage.index, instruction.index))
        if copied is None:
            # The engine did not report it: the working folder and variables of a base image are unknown then.
            copied = CopyPaths(*copy_paths(exploration.trace.dockerfile, stage, instruction))
        self._sources, self._destination = copied.sources, copied.destination
        self._parents = instruction.flag("parents") is not None
        self._source = source

    def source_of(self, entry: Entry) -> str | None:
        """Return the path in the source that became `entry`, or None if that is not clear."""
        similar: str | None = None
        for candidate in self._candidates(entry):
            found = self._source.get(posixpath.normpath(candidate).lstrip("/"))
            if found is not None and _same_file(found, entry):
                return found.path
            if found is not None and similar is None and (found.kind, found.size) == (entry.kind, entry.size):
                similar = found.path
        if similar is not None:
            return similar
        matches = [each for each in self._by_name.get(entry.name, ()) if _same_file(each, entry)]
        return matches[0].path if len(matches) == 1 else None

    def _candidates(self, entry: Entry) -> Iterator[str]:
        relative = posixpath.relpath("/" + entry.path, self._destination)
        first = relative.split("/", 1)[0]
        for word in self._sources:
            above, name = posixpath.split(word.rstrip("/"))
            if self._parents:
                yield posixpath.join(word.partition("/./")[0] if "/./" in word else "", relative)
            if fnmatchcase(first, name):
                yield posixpath.join(above, relative)
            yield posixpath.join(word, relative)
        yield from self._sources

    @cached_property
    def _by_name(self) -> Mapping[str, list[Entry]]:
        found: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self._source:
            found[entry.name].append(entry)
        return found


def _same_file(a: Entry, b: Entry) -> bool:
    return (a.kind, a.size, a.mtime, a.link_target) == (b.kind, b.size, b.mtime, b.link_target)
