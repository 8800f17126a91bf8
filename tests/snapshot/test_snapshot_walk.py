"""Snapshots that stand on one another are listed once, whatever their layers do to each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens.snapshot.listing import Folder, ListingError, Rows
from stagelens.snapshot.snapshot_walk import make_tables, walk_snapshots
from stagelens.snapshot.table import Entry, FileTable, pack_kind

# A layer: paths with what it has there: a folder, one that hides what is below ("opaque"), a file of a size,
# or nothing (None), which hides what lower layers have.
Layer = Mapping[tuple[str, ...], str | int | None]
NAMES = ("a", "b", "c")


@dataclass
class Overlays:
    """Snapshots of layers as the kernel shows them (see `snapshot_walk`); each layer has its own inodes."""

    layers: Sequence[Layer]
    uppers: frozenset[int] = frozenset()
    listed: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def owners(self, number: int, path: tuple[str, ...]) -> list[int]:
        """The layers of snapshot `number` whose entry at a path is seen, uppermost first."""
        found: list[int] = []
        for layer in range(number, -1, -1):
            hidden = False
            for depth in range(1, len(path) + 1):
                entry = self.layers[layer].get(path[:depth], "-")
                if depth == len(path) and entry not in ("-", None):
                    if found and not isinstance(entry, str):
                        return found  # a file below a folder is not seen
                    found.append(layer)
                hidden |= entry in ("opaque", None) or isinstance(entry, int)
            if hidden or (found and isinstance(self.layers[found[-1]][path], int)):
                return found
        return found

    def children(self, number: int, folder: tuple[str, ...]) -> list[tuple[str, ...]]:
        return [(*folder, name) for name in NAMES if self.owners(number, (*folder, name))]

    def add(self, rows: Rows, number: int, path: tuple[str, ...]) -> None:
        owners = self.owners(number, path)
        entry = self.layers[owners[0]][path]
        key = "\0".join((str(number), *path)).encode()
        self.listed.append((number, "/".join(path)))
        rows.keys.append(key)
        rows.kinds.append(pack_kind("file" if isinstance(entry, int) else "dir", 0o755))
        rows.sizes.append(entry if isinstance(entry, int) else owners[0])
        for column in (rows.uids, rows.gids, rows.mtimes):
            column.append(0)
        rows.targets.append(b"")
        if isinstance(entry, str):
            own = len(owners) > 1 and number in self.uppers and owners[0] == number
            inode = hash((owners[int(own)], path))
            rows.folders[key] = Folder(1 if len(owners) > 1 else 2, inode, 0, 0, 0)

    def contents(self, folders: Sequence[tuple[int, bytes]]) -> Rows:
        return self._list(folders, deep=False)

    def trees(self, number: int, folders: Iterable[bytes]) -> Rows:
        return self._list([(number, key) for key in folders], deep=True)

    def _list(self, folders: Sequence[tuple[int, bytes]], *, deep: bool) -> Rows:
        rows = Rows()
        waiting = [(number, tuple(key.decode().split("\0")) if key else ()) for number, key in folders]
        for number, folder in waiting:
            for path in self.children(number, folder):
                self.add(rows, number, path)
                entry = self.layers[self.owners(number, path)[0]][path]
                if deep and isinstance(entry, str):
                    waiting.append((number, path))
        return rows

    def tables(self) -> dict[int, FileTable]:
        """Each snapshot listed as a whole."""
        with ThreadPoolExecutor(1) as workers:
            wanted = dict.fromkeys(range(len(self.layers)))
            return make_tables(walk_snapshots(self, workers, wanted), wanted, {})


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    made: dict[tuple[str, ...], str | int | None] = {}
    for path in draw(
        st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(tuple), max_size=5)
    ):
        for depth in range(1, len(path)):
            if not isinstance(made.setdefault(path[:depth], "dir"), str):
                made[path[:depth]] = "dir"
        below = any(other[: len(path)] == path and other != path for other in made)
        made[path] = draw(st.sampled_from(["dir", "opaque"] if below else ["dir", "opaque", None, 1, 2]))
    return made


@given(st.lists(layers(), min_size=1, max_size=5), st.integers(0, 4), st.frozensets(st.integers(0, 4)))
def test_every_snapshot_is_as_if_listed_as_a_whole(
    stack: list[Layer], known: int, uppers: frozenset[int]
) -> None:
    overlays = Overlays(stack, uppers)
    expected = overlays.tables()
    before = {number: number - 1 if number else None for number in range(known, len(stack))}
    done = {number: expected[number] for number in range(min(known, len(stack)))}
    with ThreadPoolExecutor(2) as workers:
        found = make_tables(walk_snapshots(overlays, workers, before, uppers), before, done)
    assert found == {number: expected[number] for number in before}


def test_what_a_layer_leaves_alone_is_not_listed() -> None:
    below: Layer = {("a",): "dir", ("a", "b"): 1, ("c",): "dir", ("c", "a"): 1}
    overlays = Overlays([below, {("b",): 2}, {("c",): "dir", ("c", "b"): 3}, {("b",): 5}])
    with ThreadPoolExecutor(1) as workers:
        wanted = {0: None, 1: 0, 2: 1, 3: 2}
        tables = make_tables(walk_snapshots(overlays, workers, wanted), wanted, {})
    deep = {(number, path) for number, path in overlays.listed if number and "/" in path}
    assert deep == {(1, "c/a"), (2, "c/a"), (2, "c/b")}, "the folder that a layer has changed, and no other"
    assert [entry.path for entry in tables[3]] == ["a", "a/b", "b", "c", "c/a", "c/b"]


def test_a_listing_of_another_snapshot_is_refused() -> None:
    class Wrong(Overlays):
        def trees(self, number: int, folders: Iterable[bytes]) -> Rows:
            return super().trees(number + 1, folders)

    with ThreadPoolExecutor(1) as workers, pytest.raises(ListingError, match="another snapshot"):
        walk_snapshots(Wrong([{("a",): 1}, {("a",): 1}]), workers, {0: None})


def test_rows_come_in_the_order_of_a_table_whatever_is_taken_over() -> None:
    def table(*paths: str) -> FileTable:
        links = {path: "to" for path in paths if path.endswith("l")}
        return FileTable.from_entries(
            Entry(path, "symlink" if path in links else "file", 0o644, 0, 0, len(path), 7, links.get(path))
            for path in paths
        )

    base = table("a/1", "a/2l", "a-b", "c/x/1", "c/x/2l", "z")
    listed = table("a", "b", "c", "c/w", "c/x", "c/y", "d")
    patched = base.patched([b"c\0x", b"a"], listed)
    assert patched == table("a", "a/1", "a/2l", "b", "c", "c/w", "c/x", "c/x/1", "c/x/2l", "c/y", "d")
    assert base.patched([], listed) == listed
