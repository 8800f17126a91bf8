"""Places to look at: a stage of a build after one of its instructions, and what the views say of them."""

from __future__ import annotations

import difflib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from stagelens import text
from stagelens.errors import StagelensError
from stagelens.humanize import instruction_title
from stagelens.snapshot import (
    Exploration,
    FileContent,
    FileStep,
    FileTable,
    StageFiles,
    TableComparison,
    compare_tables,
    destinations,
    history,
    left_behind,
    read_file,
)
from stagelens.snapshot.changes import ADDED, CHANGED, REMOVED
from stagelens.views.file_tree import FileTree, Show

# [build, stage, instruction], each counting from 0; an empty list is a tree without files.
PointIndex = Sequence[int]
_NOTHING = FileTable.from_entries(())
_TREES = 2
_DIFF_LINES = 2000


class ExplorerModel:
    """One or more explored builds, and the trees that compare two points of them (the last few are kept)."""

    def __init__(self, explorations: Sequence[Exploration], names: Sequence[str]) -> None:
        self.explorations = tuple(explorations)
        self.names = tuple(names)
        self._trees: OrderedDict[tuple[Any, ...], FileTree] = OrderedDict()
        # JupyterLab sends each widget's requests to a thread of the kernel.
        self._lock = threading.Lock()

    def files(self, point: PointIndex) -> tuple[Exploration, StageFiles, int]:
        """Return the build, stage and instruction's index. Raises StagelensError for a strange point."""
        try:
            build, stage, instruction = point
            exploration = self.explorations[build]
            files = exploration.stages[stage]
            if min(point) < 0 or instruction >= len(files.tables):
                raise IndexError
        except (IndexError, ValueError, TypeError) as error:
            raise StagelensError("There is no such stage or instruction.", where=ascii(point)) from error
        return exploration, files, instruction

    def before(self, point: PointIndex) -> PointIndex:
        """Return the point an instruction starts from: the one before it; for a FROM a tree without files."""
        return [*point[:2], point[2] - 1] if point[2] else []

    def table(self, point: PointIndex) -> FileTable:
        """Return the files at a point."""
        if not point:
            return _NOTHING
        _, files, instruction = self.files(point)
        return files.tables[instruction]

    def compare(self, against: PointIndex, point: PointIndex) -> TableComparison:
        """Return what differs between two points."""
        return compare_tables(self.table(against), self.table(point))

    def tree(self, against: PointIndex, point: PointIndex, show: Show, needle: str) -> FileTree:
        """Return the tree to page through."""
        key = (tuple(against), tuple(point), show, needle)
        with self._lock:
            if key not in self._trees:
                left = None
                if show == "left-behind":
                    exploration, files, instruction = self.files(point)
                    left = left_behind(exploration, files.stage.index, instruction)
                self._trees[key] = FileTree(self.compare(against, point), show, needle, left)
            self._trees.move_to_end(key)
            while len(self._trees) > _TREES:
                self._trees.popitem(last=False)
            return self._trees[key]

    def outline(self) -> list[dict[str, Any]]:
        """All builds with their stages and instructions, in a few bytes each."""
        return [
            {
                "name": name,
                "stages": [_stage(files, exploration) for files in exploration.stages],
            }
            for name, exploration in zip(self.names, self.explorations, strict=True)
        ]

    def content(self, against: PointIndex, point: PointIndex, path: str) -> dict[str, Any]:
        """Return the first 64 KiB of a file as lines: (sign, line), with `diff`'s signs where it changed."""
        old, new = (self._read(place, path) for place in (against, point))
        found = new or old
        if found is None:
            raise StagelensError("There is no such file at either point.", where=text.file_name(path))
        facts = {"size": found.size, "binary": found.binary, "truncated": found.truncated}
        lines = [] if found.binary else _lines(old, new)
        return facts | {"lines": [[sign, text.block(line)] for sign, line in lines]}

    def route(self, point: PointIndex, path: str) -> dict[str, list[dict[str, Any]]]:
        """Where the file of a stage's final state came from (first step first) and where it went."""
        exploration, files, _ = self.files(point)
        number = files.stage.index
        back = history(exploration, number, path)[::-1]
        onward = destinations(exploration, number, path)
        return {
            "from": [self._step(point[0], exploration, step) for step in back],
            "to": [self._step(point[0], exploration, step) for step in onward],
        }

    def _step(self, build: int, exploration: Exploration, step: FileStep) -> dict[str, Any]:
        stages = [files.stage.index for files in exploration.stages]
        files = exploration.stage(step.stage)
        instruction = files.stage.instructions[step.instruction]
        entry = files.tables[step.instruction].get(step.path)
        return {
            "point": [build, stages.index(step.stage), step.instruction],
            "stage": text.inline(files.stage.label, 60),
            "line": instruction.start_line,
            "text": text.inline(instruction_title(instruction, 60)),
            "path": text.file_name(step.path),
            "size": entry.size if entry else 0,
            "final": files is exploration.stage(),
        }

    def _read(self, point: PointIndex, path: str) -> FileContent | None:
        if not point:
            return None
        exploration, files, instruction = self.files(point)
        entry = files.tables[instruction].get(path)
        if entry is None or entry.kind != "file":
            return None
        return read_file(exploration, files.stage.index, instruction, path)


def _stage(files: StageFiles, exploration: Exploration) -> dict[str, Any]:
    count, size = files.final.usage()
    return {
        "label": text.inline(files.stage.label, 60),
        "base": text.inline(files.stage.base, 80),
        "files": count,
        "bytes": size,
        "final": files is exploration.stages[-1],
        "instructions": [_instruction(files, index) for index in range(len(files.tables))],
    }


def _instruction(files: StageFiles, index: int) -> dict[str, Any]:
    instruction = files.stage.instructions[index]
    found = compare_tables(files.tables[index - 1] if index else _NOTHING, files.tables[index])
    return {
        "line": instruction.start_line,
        "text": text.inline(instruction_title(instruction, 100)),
        "added": found.count(ADDED),
        "changed": found.count(CHANGED),
        "removed": found.count(REMOVED),
        "bytes": found.bytes(ADDED) + found.bytes(CHANGED),
    }


def _lines(old: FileContent | None, new: FileContent | None) -> list[tuple[str, str]]:
    before = old.text.splitlines() if old and not old.binary else None
    after = new.text.splitlines() if new and not new.binary else None
    if before is None or after is None or len(before) + len(after) > _DIFF_LINES:
        return [(" ", line) for line in (before if after is None else after) or ()]
    return list(line_changes(before, after))


def line_changes(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    """Return the lines of both texts with `diff`'s signs."""
    # Not ndiff: it looks for lines that are alike, which takes minutes where every line is another.
    for kind, a, a_end, b, b_end in difflib.SequenceMatcher(None, before, after).get_opcodes():
        if kind == "equal":
            yield from ((" ", line) for line in after[b:b_end])
        else:
            yield from (("-", line) for line in before[a:a_end])
            yield from (("+", line) for line in after[b:b_end])
