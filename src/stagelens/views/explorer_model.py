"""Data for the stage explorer: file trees, contents and file origins at points of explored builds."""

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

# [build, stage, instruction], each counted from 0; an empty list is a tree without files.
PointIndex = Sequence[int]
_EMPTY = FileTable.from_entries(())
_MAX_TREES = 2
_MAX_DIFF_LINES = 2000


class ExplorerModel:
    """Explored builds, and the trees that compare two points of them; the latest trees are cached.

    Parameters
    ----------
    explorations
        The explored builds.
    names
        The name of each build.
    """

    def __init__(self, explorations: Sequence[Exploration], names: Sequence[str]) -> None:
        self.explorations = tuple(explorations)
        self.names = tuple(names)
        self._trees: OrderedDict[tuple[Any, ...], FileTree] = OrderedDict()
        # ipykernel can handle requests of widgets in several threads.
        self._lock = threading.Lock()

    def files(self, point: PointIndex) -> tuple[Exploration, StageFiles, int]:
        """Return the build, the stage's files and the instruction's index of a point.

        Parameters
        ----------
        point
            The point, which must not be empty.

        Raises
        ------
        StagelensError
            If the point does not exist.
        """
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
        """Return the point before an instruction; for FROM the empty point.

        Parameters
        ----------
        point
            The point after the instruction.
        """
        return [*point[:2], point[2] - 1] if point[2] else []

    def table(self, point: PointIndex) -> FileTable:
        """Return the files at a point.

        Parameters
        ----------
        point
            The point; the empty one has no files.

        Raises
        ------
        StagelensError
            If the point does not exist.
        """
        if not point:
            return _EMPTY
        _, files, instruction = self.files(point)
        return files.tables[instruction]

    def compare(self, against: PointIndex, point: PointIndex) -> TableComparison:
        """Compare the files of two points.

        Parameters
        ----------
        against
            The first point.
        point
            The second point.

        Raises
        ------
        StagelensError
            If a point does not exist.
        """
        return compare_tables(self.table(against), self.table(point))

    def tree(self, against: PointIndex, point: PointIndex, show: Show, needle: str) -> FileTree:
        """Return the tree of the files at a point, with marks on changes.

        Parameters
        ----------
        against
            The point to compare with.
        point
            The point to show.
        show
            The rows to show.
        needle
            A part of a path, or a pattern with `*` and `?`; only matching rows are shown.

        Raises
        ------
        StagelensError
            If a point does not exist.
        """
        key = (tuple(against), tuple(point), show, needle)
        with self._lock:
            if key not in self._trees:
                left = None
                if show == "left-behind":
                    exploration, files, instruction = self.files(point)
                    left = left_behind(exploration, files.stage.index, instruction)
                self._trees[key] = FileTree(self.compare(against, point), show, needle, left)
            self._trees.move_to_end(key)
            while len(self._trees) > _MAX_TREES:
                self._trees.popitem(last=False)
            return self._trees[key]

    def outline(self) -> list[dict[str, Any]]:
        """Return all builds with their stages and instructions, as JSON values."""
        return [
            {
                "name": name,
                "stages": [_stage(files, exploration) for files in exploration.stages],
            }
            for name, exploration in zip(self.names, self.explorations, strict=True)
        ]

    def content(self, against: PointIndex, point: PointIndex, path: str) -> dict[str, Any]:
        """Return the first 64 KiB of a file as lines, with the signs of `diff`.

        Parameters
        ----------
        against
            The point to compare with.
        point
            The point to show.
        path
            The path of the file.

        Returns
        -------
        dict
            The size, whether the file is binary or was truncated, and the lines: [sign, line].

        Raises
        ------
        StagelensError
            If neither point has such a file.
        """
        old, new = self._read(against, path), self._read(point, path)
        found = new or old
        if found is None:
            raise StagelensError("There is no such file at either point.", where=text.file_name(path))
        facts = {"size": found.size, "binary": found.binary, "truncated": found.truncated}
        lines = [] if found.binary else _lines(old, new)
        return facts | {"lines": [[sign, text.block(line)] for sign, line in lines]}

    def route(self, point: PointIndex, path: str) -> dict[str, list[dict[str, Any]]]:
        """Return the steps through which a file reached a stage, and the steps that copied it further.

        Parameters
        ----------
        point
            A point in the stage; its final state counts.
        path
            The path of the file.

        Returns
        -------
        dict
            The steps before, earliest first, as "from", and the steps after as "to".

        Raises
        ------
        StagelensError
            If the point does not exist.
        """
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
    found = compare_tables(files.tables[index - 1] if index else _EMPTY, files.tables[index])
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
    if before is None or after is None or len(before) + len(after) > _MAX_DIFF_LINES:
        return [(" ", line) for line in (before if after is None else after) or ()]
    return list(diff_lines(before, after))


def diff_lines(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the lines of two texts, each with its sign in `diff`.

    Parameters
    ----------
    before
        The lines of the first text.
    after
        The lines of the second text.

    Yields
    ------
    tuple
        The sign and the line.
    """
    # Not ndiff, which searches for similar lines: that takes minutes if all lines differ.
    for kind, a, a_end, b, b_end in difflib.SequenceMatcher(None, before, after).get_opcodes():
        if kind == "equal":
            yield from ((" ", line) for line in after[b:b_end])
        else:
            yield from (("-", line) for line in before[a:a_end])
            yield from (("+", line) for line in after[b:b_end])
