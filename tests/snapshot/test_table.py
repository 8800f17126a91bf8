"""A file table keeps a tree's entries sorted, small and quick to ask."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens.snapshot.table import KINDS, Entry, FileTable

# Few names, so that paths share folders; among them what sorts around the separator, and a name that is
# not UTF-8.
NAMES = st.sampled_from(["a", "a-b", "a b", "a\x01", "b", "é", "\udcff", "line\nbreak", ".wh.x", "..."])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
U32 = st.integers(0, 2**32 - 1)


@st.composite
def entries(draw: st.DrawFn, paths: st.SearchStrategy[str] = PATHS) -> Entry:
    kind = draw(st.sampled_from(KINDS))
    return Entry(
        path=draw(paths),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(U32),
        gid=draw(U32),
        size=draw(st.integers(0, 2**40)),
        mtime=draw(st.integers(-(2**40), 2**40)),
        link_target=draw(st.sampled_from(["", "../a", "\udc80"])) if kind == "symlink" else None,
    )


TREES = st.lists(entries(), max_size=30, unique_by=lambda entry: entry.path)


def by_parts(entry: Entry) -> list[bytes]:
    return [part.encode("utf-8", "surrogateescape") for part in entry.path.split("/")]


@given(TREES)
def test_entries_come_back_in_order_of_path_parts(tree: list[Entry]) -> None:
    assert list(FileTable.from_entries(tree)) == sorted(tree, key=by_parts)


@given(TREES)
def test_bytes_give_the_same_table_again(tree: list[Entry]) -> None:
    table = FileTable.from_entries(tree)
    assert FileTable.from_bytes(table.to_bytes()) == table


@given(TREES, PATHS)
def test_get_finds_what_is_there_and_nothing_else(tree: list[Entry], path: str) -> None:
    expected = {entry.path: entry for entry in tree}
    table = FileTable.from_entries(tree)
    assert table.get(path) == expected.get(path)
    assert all(table.get(entry.path) == entry for entry in tree)


@given(TREES, PATHS | st.just(""))
def test_children_are_the_entries_one_level_down(tree: list[Entry], path: str) -> None:
    inside = [entry for entry in sorted(tree, key=by_parts) if entry.path.rpartition("/")[0] == path]
    assert list(FileTable.from_entries(tree).children(path)) == inside


@given(TREES, PATHS | st.just(""))
def test_usage_is_the_sum_over_the_subtree(tree: list[Entry], path: str) -> None:
    inside = [e for e in tree if not path or e.path == path or e.path.startswith(path + "/")]
    files = sum(entry.kind != "dir" for entry in inside)
    size = sum(entry.size for entry in inside if entry.kind == "file")
    assert FileTable.from_entries(tree).usage(path) == (files, size)


def test_of_two_entries_with_one_path_the_later_stays() -> None:
    table = FileTable.from_entries([Entry("a", "file", size=1), Entry("a", "file", size=2)])
    assert [entry.size for entry in table] == [2]


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\0b"])
def test_a_path_that_is_not_inside_the_tree_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside"):
        FileTable.from_entries([Entry(path, "file")])


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        FileTable.from_entries([Entry("a", "file", uid=2**32)])


@given(TREES, st.data())
def test_damaged_bytes_are_refused(tree: list[Entry], data: st.DataObject) -> None:
    good = FileTable.from_entries(tree).to_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    flipped = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    for bad in (flipped, good[:at], good + b"\0"):
        with pytest.raises(ValueError):
            FileTable.from_bytes(bad)


def test_a_hundred_thousand_files_take_less_than_200_bytes_each() -> None:
    count = 100_000

    def tree() -> list[Entry]:
        return [
            Entry(f"usr/lib/node_modules/package-{i // 100}/dist/internal/module-{i}.js", "file", size=i)
            for i in range(count)
        ]

    tracemalloc.start()
    try:
        table = FileTable.from_entries(tree())
        table.usage("usr")
        table.children("usr/lib")
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table) == count
    assert used / count < 200
