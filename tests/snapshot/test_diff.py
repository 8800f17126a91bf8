"""A diff says what it takes to turn one tree into the other."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stagelens.snapshot.changes import Diff, diff
from stagelens.snapshot.table import Entry, FileTable

ENTRIES = st.builds(
    Entry,
    path=st.lists(st.sampled_from(["a", "a-b", "b", "é"]), min_size=1, max_size=3).map("/".join),
    kind=st.sampled_from(["file", "dir", "fifo"]),
    mode=st.sampled_from([0o644, 0o755]),
    uid=st.integers(0, 1),
    size=st.integers(0, 2),
    mtime=st.integers(0, 1),
)
TABLES = st.lists(ENTRIES, max_size=20).map(FileTable.from_entries)


def apply(table: FileTable, change: Diff) -> FileTable:
    entries = {entry.path: entry for entry in table}
    for entry in change.removed:
        assert entries.pop(entry.path) == entry
    for old, new in change.changed:
        assert entries[old.path] == old
        entries[new.path] = new
    for entry in change.added:
        assert entry.path not in entries
        entries[entry.path] = entry
    return FileTable.from_entries(entries.values())


def without_folder_times(table: FileTable) -> FileTable:
    return FileTable.from_entries(replace(e, mtime=0, size=0) if e.kind == "dir" else e for e in table)


@given(TABLES, TABLES)
def test_the_first_tree_with_the_diff_applied_is_the_second(a: FileTable, b: FileTable) -> None:
    assert without_folder_times(apply(a, diff(a, b))) == without_folder_times(b)


@given(TABLES, TABLES)
def test_only_real_differences_are_listed(a: FileTable, b: FileTable) -> None:
    change = diff(a, b)
    assert all(old != new and old.path == new.path for old, new in change.changed)
    assert bool(change) == (without_folder_times(a) != without_folder_times(b))


@given(TABLES, TABLES)
def test_growth_is_the_difference_in_bytes(a: FileTable, b: FileTable) -> None:
    assert diff(a, b).growth == b.usage()[1] - a.usage()[1]


def test_a_folder_whose_time_and_size_alone_differ_has_not_changed() -> None:
    folder = Entry("a", "dir", 0o755, size=4096, mtime=1)
    later = replace(folder, size=0, mtime=2)
    assert not diff(FileTable.from_entries([folder]), FileTable.from_entries([later]))


def test_a_folder_with_another_mode_or_owner_has_changed() -> None:
    folder = Entry("a", "dir", 0o755)
    for other in (replace(folder, mode=0o700), replace(folder, uid=1), replace(folder, gid=1)):
        change = diff(FileTable.from_entries([folder]), FileTable.from_entries([other]))
        assert change.changed == ((folder, other),)


def test_a_link_that_points_elsewhere_has_changed() -> None:
    link = Entry("a", "symlink", 0o777, link_target="b")
    other = replace(link, link_target="c")
    assert diff(FileTable.from_entries([link]), FileTable.from_entries([other])).changed == ((link, other),)


def test_bytes_are_those_of_regular_files() -> None:
    a = FileTable.from_entries([Entry("gone", "file", size=5), Entry("kept", "file", size=1)])
    b = FileTable.from_entries(
        [Entry("kept", "file", size=3), Entry("new", "file", size=7), Entry("to", "symlink", size=9)]
    )
    change = diff(a, b)
    assert (change.bytes_added, change.bytes_removed, change.bytes_changed) == (7, 5, 3)
    assert change.growth == 4
