"""What differs between two snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stagelens.snapshot.entry import Entry
from stagelens.snapshot.table import FileTable


@dataclass(frozen=True, slots=True)
class Diff:
    """Entries only in the second table, only in the first, and (first, second) of those that changed.

    Each is in the order of the tables.
    """

    added: tuple[Entry, ...] = ()
    removed: tuple[Entry, ...] = ()
    changed: tuple[tuple[Entry, Entry], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @property
    def bytes_added(self) -> int:
        """Bytes of the regular files that are new."""
        return _bytes(self.added)

    @property
    def bytes_removed(self) -> int:
        """Bytes of the regular files that are gone."""
        return _bytes(self.removed)

    @property
    def bytes_changed(self) -> int:
        """Bytes that changed regular files have now: what a layer must store of them."""
        return _bytes(new for _, new in self.changed)

    @property
    def growth(self) -> int:
        """By how many bytes the tree grew; negative where it shrank."""
        before = _bytes(old for old, _ in self.changed)
        return self.bytes_added + self.bytes_changed - self.bytes_removed - before


def _bytes(entries: Iterable[Entry]) -> int:
    return sum(entry.size for entry in entries if entry.kind == "file")


def diff(a: FileTable, b: FileTable) -> Diff:
    """Compare two tables in one pass; a folder whose time or size alone differs has not changed."""
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
