"""Where a file came from and where it went: followed through COPY --from and FROM, back and onward."""

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
    """One place on a file's way: the instruction (of the stage) that wrote or copied `path` there."""

    stage: int
    instruction: int
    path: str


@short_traceback_on_interrupt()
def history(exploration: Exploration, stage: str | int, path: str) -> tuple[FileStep, ...]:
    """The way of a file of a stage's final state, last step first.

    Empty where the file is not there. The way ends at an instruction that wrote the file, at a base image
    (a step at a FROM), at the build context, or at another image.
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
    """Where later stages took over a file of a stage's final state, in order of the Dockerfile.

    A step for each FROM or COPY that brought it (under whatever name) into a stage whose final state has it.
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
            arrived = (here for path, here in _carried(exploration, edge) if path == wanted)
            for step in (FileStep(edge.target, edge.instruction, here) for here in arrived):
                if step not in found:
                    found.append(step)
                    waiting.append((step.stage, step.path))
    return tuple(sorted(found, key=lambda step: (step.stage, step.instruction, step.path)))


def left_behind(exploration: Exploration, stage: str | int, instruction: int | None = None) -> bytes:
    """For each row of a stage's files 1 where it is a file that is of no use to the target's final state.

    Of use is what the final state has itself, at the same path and unchanged (from the same base image, say),
    and what FROM and COPY brought there through however many stages, under whatever name.
    """
    files, target = exploration.stage(stage), exploration.stage()
    table = files.tables[-1 if instruction is None else instruction]
    if files is target:
        return bytes(len(table))
    taken = _taken(exploration)[files.stage.index]
    return bytes(e.kind != "dir" and e.path not in taken and target.final.get(e.path) != e for e in table)


def _taken(exploration: Exploration) -> dict[int, set[str]]:
    """For each stage the paths of its final state that reach the target's final state."""
    target = exploration.stage().stage.index
    taken: dict[int, set[str]] = {files.stage.index: set() for files in exploration.stages}
    for files in reversed(exploration.stages):  # whoever takes comes later in the Dockerfile
        number = files.stage.index
        for edge in exploration.trace.dockerfile.edges:
            if edge.target != number or not isinstance(edge.source, int) or edge.kind not in ("copy", "from"):
                continue
            for path, new in _carried(exploration, edge):
                if number == target or new in taken[number]:
                    taken[edge.source].add(path)
    return taken


def _carried(exploration: Exploration, edge: StageEdge) -> Iterator[tuple[str, str]]:
    """The files that an edge brought and that its target still has at its end: path there, path here."""
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
    """A COPY --from: which path of the source's final state became a path of its own stage.

    By the COPY's own words, checked against what is there. COPY keeps size and time, so the candidate that is
    equal is it. One of the same size will do: BuildKit goes by content, and answers a COPY from its cache
    with the times of an earlier run.
    """

    def __init__(
        self, exploration: Exploration, stage: Stage, instruction: Instruction, source: FileTable
    ) -> None:
        copied = exploration.copies.get(Point(stage.index, instruction.index))
        if copied is None:
            # The engine did not tell: a base image's folder and variables are not known then.
            copied = CopyPaths(*copy_paths(exploration.trace.dockerfile, stage, instruction))
        self._sources, self._destination = copied.sources, copied.destination
        self._parents = instruction.flag("parents") is not None
        self._source = source

    def source_of(self, entry: Entry) -> str | None:
        """The path in the source that became `entry`, None where that cannot be told."""
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
