"""Two tables compared row by row, in a few bytes a row: what the views page through.

A `Diff` holds an `Entry` for each difference; for a base image's 100,000 files that is
a hundred times as much.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from stagelens.snapshot.table import FileTable

SAME, ADDED, CHANGED, REMOVED = range(4)
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Comparison:
    """How `after` differs from `before`.

    `marks`: for each row of `after` SAME, ADDED or CHANGED. `gone`: for each row of `before` REMOVED where
    `after` lacks it, else SAME.
    """

    before: FileTable
    after: FileTable
    marks: bytes
    gone: bytes

    def count(self, mark: int) -> int:
        """How many rows have this mark."""
        return self.gone.count(REMOVED) if mark == REMOVED else self.marks.count(mark)

    def bytes(self, mark: int) -> int:
        """Bytes of the regular files with this mark, as they are after (REMOVED: as they were before)."""
        table, marks = (self.before, self.gone) if mark == REMOVED else (self.after, self.marks)
        return sum(table.size(row) for row, found in enumerate(marks) if found == mark)


def compare(before: FileTable, after: FileTable) -> Comparison:
    """Compare two tables in one pass; a folder whose time or size alone differs has not changed."""
    if before is after:
        return Comparison(before, after, bytes(len(after)), bytes(len(before)))
    marks, gone = bytearray(len(after)), bytearray(len(before))
    left = right = 0
    while left < len(before) and right < len(after):
        if run := before.same_run(left, after, right, _BLOCK):
            left, right = left + run, right + run
            continue
        left, right = _walk(before, after, left, right, marks, gone)
    gone[left:] = bytes([REMOVED]) * (len(before) - left)
    marks[right:] = bytes([ADDED]) * (len(after) - right)
    return Comparison(before, after, bytes(marks), bytes(gone))


def _walk(
    before: FileTable, after: FileTable, left: int, right: int, marks: bytearray, gone: bytearray
) -> tuple[int, int]:
    """Compare single rows for about a block; where it ended in both tables."""
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


class Selection:
    """Some rows of a table, with running totals: what a folder holds of them is one subtraction."""

    def __init__(self, table: FileTable, chosen: Iterable[bool]) -> None:
        """`chosen` says of each row in turn whether it is among them."""
        kept = bytes(chosen)
        self._counts = array("I", accumulate(kept, initial=0))
        self._bytes = array(
            "Q", accumulate((table.size(r) if k else 0 for r, k in enumerate(kept)), initial=0)
        )

    def count(self, start: int, stop: int) -> int:
        """How many selected rows are among these."""
        return self._counts[stop] - self._counts[start]

    def bytes(self, start: int, stop: int) -> int:
        """The bytes of the selected regular files among these rows."""
        return self._bytes[stop] - self._bytes[start]
