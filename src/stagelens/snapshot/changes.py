"""Differences between two file tables: as a `Diff` of entries, or as marks in a few bytes a row."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from stagelens.snapshot.table import Entry, FileTable

SAME, ADDED, CHANGED, REMOVED = range(4)
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class TableComparison:
    """How the table `after` differs from the table `before`.

    Attributes
    ----------
    before, after
        The tables.
    marks
        SAME, ADDED or CHANGED for each row of `after`.
    gone
        REMOVED or SAME for each row of `before`.
    """

    before: FileTable
    after: FileTable
    marks: bytes
    gone: bytes

    def count(self, mark: int) -> int:
        """Return how many rows have a mark."""
        return self.gone.count(REMOVED) if mark == REMOVED else self.marks.count(mark)

    def bytes(self, mark: int) -> int:
        """Return the bytes of the regular files with a mark: after the change, for REMOVED before it."""
        table, marks = (self.before, self.gone) if mark == REMOVED else (self.after, self.marks)
        return sum(table.size(row) for row, found in enumerate(marks) if found == mark)


def compare_tables(before: FileTable, after: FileTable) -> TableComparison:
    """Compare two tables in one pass.

    A folder counts as the same if only its time or size differs. The result takes a few bytes a row; `diff`
    makes an `Entry` of each difference, which is a hundred times as much for a base image's 100,000 files.
    """
    if before is after:
        return TableComparison(before, after, bytes(len(after)), bytes(len(before)))
    marks, gone = bytearray(len(after)), bytearray(len(before))
    left = right = 0
    while left < len(before) and right < len(after):
        if run := before.same_run(left, after, right, _BLOCK):
            left, right = left + run, right + run
            continue
        left, right = _walk(before, after, left, right, marks, gone)
    gone[left:] = bytes([REMOVED]) * (len(before) - left)
    marks[right:] = bytes([ADDED]) * (len(after) - right)
    return TableComparison(before, after, bytes(marks), bytes(gone))


def _walk(
    before: FileTable, after: FileTable, left: int, right: int, marks: bytearray, gone: bytearray
) -> tuple[int, int]:
    """Compare single rows for about a block. Returns the rows where the walk ended in both tables."""
    end = min(left + _BLOCK, len(before))
    while left < end and right < len(after):
        left_key, right_key = before.key(left), after.key(right)
        if left_key < right_key:
            gone[left] = REMOVED
            left += 1
        elif left_key > right_key:
            marks[right] = ADDED
            right += 1
        else:
            if before.stamp(left) != after.stamp(right):
                marks[right] = CHANGED
            left, right = left + 1, right + 1
    return left, right


class RowSelection:
    """Some rows of a table with running totals, so that the total of a folder is one subtraction.

    Parameters
    ----------
    table
        The table.
    chosen
        Whether each row is selected.
    """

    def __init__(self, table: FileTable, chosen: Iterable[bool]) -> None:
        kept = bytes(chosen)
        self._counts = array("I", accumulate(kept, initial=0))
        self._bytes = array(
            "Q", accumulate((table.size(r) if k else 0 for r, k in enumerate(kept)), initial=0)
        )

    def count(self, start: int, stop: int) -> int:
        """Return how many of these rows are selected."""
        return self._counts[stop] - self._counts[start]

    def bytes(self, start: int, stop: int) -> int:
        """Return the bytes of the selected regular files among these rows."""
        return self._bytes[stop] - self._bytes[start]


@dataclass(frozen=True, slots=True)
class Diff:
    """The differences between two tables, in the order of the tables.

    Attributes
    ----------
    added
        Entries of the second table only.
    removed
        Entries of the first table only.
    changed
        Pairs of an entry in the first and in the second table.
    """

    added: tuple[Entry, ...] = ()
    removed: tuple[Entry, ...] = ()
    changed: tuple[tuple[Entry, Entry], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @property
    def bytes_added(self) -> int:
        """The bytes of the regular files that are new."""
        return _bytes(self.added)

    @property
    def bytes_removed(self) -> int:
        """The bytes of the regular files that are gone."""
        return _bytes(self.removed)

    @property
    def bytes_changed(self) -> int:
        """The bytes of changed regular files after the change, as a layer has to store them."""
        return _bytes(new for _, new in self.changed)

    @property
    def growth(self) -> int:
        """The bytes by which the tree grew; negative if it shrank."""
        before = _bytes(old for old, _ in self.changed)
        return self.bytes_added + self.bytes_changed - self.bytes_removed - before


def _bytes(entries: Iterable[Entry]) -> int:
    return sum(entry.size for entry in entries if entry.kind == "file")


def diff(a: FileTable, b: FileTable) -> Diff:
    """Compare two tables in one pass; a folder counts as the same if only its time or size differs."""
    added: list[Entry] = []
    removed: list[Entry] = []
    changed: list[tuple[Entry, Entry]] = []
    left = right = 0
    while left < len(a) and right < len(b):
        left_key, right_key = a.key(left), b.key(right)
        if left_key < right_key:
            removed.append(a.entry(left))
            left += 1
        elif left_key > right_key:
            added.append(b.entry(right))
            right += 1
        else:
            if a.stamp(left) != b.stamp(right):
                changed.append((a.entry(left), b.entry(right)))
            left, right = left + 1, right + 1
    removed.extend(map(a.entry, range(left, len(a))))
    added.extend(map(b.entry, range(right, len(b))))
    return Diff(tuple(added), tuple(removed), tuple(changed))
