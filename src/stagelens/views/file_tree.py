"""A compared file tree for the front end: JSON rows of one folder at a time."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from stagelens import text
from stagelens.snapshot import FileTable
from stagelens.snapshot.changes import ADDED, CHANGED, REMOVED, RowSelection, TableComparison
from stagelens.snapshot.table import Span, key_path

Show = Literal["all", "changes", "left-behind"]
Sort = Literal["name", "size"]
MARKS = {0: "", ADDED: "added", CHANGED: "changed", REMOVED: "removed"}
# Limits of an answer: bytes of one folder, and rows of folders that are open at first.
MAX_BYTES = 4 << 20
MAX_OPENED = 400
_ROW_BYTES = 48

# name, kind, bytes, mark, differing rows at or below it, permission bits, link target
Row = list[Any]


class _Pair(NamedTuple):
    """A name in a folder, with its rows in the second and in the first table."""

    name: bytes
    after: Span | None
    before: Span | None


class FileTree:
    """The rows of a comparison that are shown: all, only changes, matching paths, or files left behind.

    Parameters
    ----------
    comparison
        The comparison of two tables.
    show
        The rows to show.
    needle
        A part of a path in any letter case, or a pattern with `*` and `?`; only matching rows are shown.
    left
        For each row of the second table whether it was left behind, if `show` is "left-behind".
    """

    def __init__(
        self, comparison: TableComparison, show: Show = "all", needle: str = "", left: bytes | None = None
    ) -> None:
        self._after, self._before = comparison.after, comparison.before
        self._marks, self._gone = comparison.marks, comparison.gone
        self._filtered = show != "all" or bool(needle)
        matches = _matcher(needle)
        marks, gone = self._marks, self._gone
        chosen = _rows(self._after, matches, lambda row: _shown(show, marks[row], left[row] if left else 0))
        removed = _rows(self._before, matches, lambda row: bool(gone[row]) and show != "left-behind")
        self._here = RowSelection(self._after, chosen)
        self._lost = RowSelection(self._before, removed)
        self._differ = RowSelection(self._after, map(bool, marks))
        self._missing = RowSelection(self._before, map(bool, gone))

    def totals(self) -> dict[str, int]:
        """Return the number of shown rows, and the bytes of the regular files that were not removed."""
        rows, lost = len(self._after), len(self._before)
        count = self._here.count(0, rows) + self._lost.count(0, lost)
        return {"rows": count, "bytes": self._here.bytes(0, rows)}

    def folder(self, path: str, sort: Sort = "name", offset: int = 0) -> dict[str, Any]:
        """Return rows of a folder, up to `MAX_BYTES`, and the number of all rows in it.

        Parameters
        ----------
        path
            The path of the folder; empty for the root.
        sort
            The order of the rows.
        offset
            The index of the first row to return.
        """
        pairs = sorted(self._pairs(path), key=lambda pair: pair.name)
        if sort == "size":
            pairs.sort(key=lambda pair: -self._size(pair))
        rows: list[Row] = []
        weight = 0
        for pair in pairs[offset:]:
            row = self._row(pair)
            weight += _ROW_BYTES + len(row[0].encode()) + len((row[6] or "").encode())
            if weight > MAX_BYTES and rows:
                break
            rows.append(row)
        return {"rows": rows, "total": len(pairs)}

    def opened(self, sort: Sort = "name") -> dict[str, dict[str, Any]]:
        """Return the folders to open at first by path, up to `MAX_OPENED` rows.

        These are the root and the folders with changes, if the tree has few changes; with a filter all
        folders.

        Parameters
        ----------
        sort
            The order of the rows.
        """
        found = {"": self.folder("", sort)}
        few = sum(row[4] for row in found[""]["rows"]) <= MAX_OPENED
        queue = [""] if few or self._filtered else []
        remaining = MAX_OPENED - len(found[""]["rows"])
        while queue and remaining > 0:
            here = queue.pop(0)
            for row in found[here]["rows"]:
                if row[1] != "dir" or remaining <= 0 or not (self._filtered or row[4]):
                    continue
                path = f"{here}/{row[0]}".lstrip("/")
                found[path] = self.folder(text.parse_file_name(path), sort)
                remaining -= len(found[path]["rows"])
                queue.append(path)
        return found

    def _pairs(self, path: str) -> Iterator[_Pair]:
        """Yield the shown names of a folder; a pair has `before` only if something was removed below it."""
        some = self._missing.count(*self._before.subtree(path))
        lost = {span.name: span for span in self._before.spans(path)} if some else {}
        for span in self._after.spans(path):
            pair = _Pair(span.name, span, lost.pop(span.name, None))
            if self._shows(pair):
                yield pair
        for span in lost.values():
            pair = _Pair(span.name, None, span)
            if self._shows(pair):
                yield pair

    def _shows(self, pair: _Pair) -> bool:
        here = pair.after and self._here.count(pair.after.start, pair.after.stop)
        return bool(here or (pair.before and self._lost.count(pair.before.start, pair.before.stop)))

    def _size(self, pair: _Pair) -> int:
        if pair.after is not None:
            return self._here.bytes(pair.after.start, pair.after.stop)
        return self._lost.bytes(pair.before.start, pair.before.stop) if pair.before else 0

    def _row(self, pair: _Pair) -> Row:
        inside = self._differ.count(pair.after.start, pair.after.stop) if pair.after else 0
        inside += self._missing.count(pair.before.start, pair.before.stop) if pair.before else 0
        name = text.file_name(pair.name.decode("utf-8", "surrogateescape"))
        table, marks = (self._after, self._marks) if pair.after else (self._before, self._gone)
        span = pair.after or pair.before
        if span is None or span.row is None:
            return [name, "dir", self._size(pair), "", inside, None, None]
        entry = table.entry(span.row)
        target = None if entry.link_target is None else text.file_name(entry.link_target)
        return [name, entry.kind, self._size(pair), MARKS[marks[span.row]], inside, entry.mode, target]


def _shown(show: Show, mark: int, left: int) -> bool:
    return show == "all" or (bool(mark) if show == "changes" else bool(left))


def _matcher(needle: str) -> Callable[[str], object] | None:
    if not needle:
        return None
    wanted = needle.lower()
    if "*" in wanted or "?" in wanted:
        return re.compile(fnmatch.translate(f"*{wanted.lstrip('*')}")).match
    return lambda path: wanted in path


def _rows(
    table: FileTable, matches: Callable[[str], object] | None, shown: Callable[[int], bool]
) -> Sequence[bool]:
    return [
        shown(row) and (matches is None or bool(matches("/" + key_path(table.key(row)).lower())))
        for row in range(len(table))
    ]
