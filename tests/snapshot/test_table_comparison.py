"""Comparing tables row by row agrees with `diff`, which makes entries of what differs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stagelens.snapshot import Entry, FileTable, compare_tables, diff
from stagelens.snapshot.changes import ADDED, CHANGED, REMOVED, RowSelection, TableComparison

names = st.sampled_from(["a", "b", "a/x", "a/y", "a-b", "a/x/deep", "c\n", "é"])
entries = st.builds(
    Entry, names, st.sampled_from(["file", "dir", "symlink"]), size=st.integers(0, 3), mtime=st.integers(0, 2)
)
trees = st.lists(entries, max_size=8).map(FileTable.from_entries)


def marked(found: TableComparison, mark: int) -> list[Entry]:
    table, marks = (found.before, found.gone) if mark == REMOVED else (found.after, found.marks)
    return [table.entry(row) for row, value in enumerate(marks) if value == mark]


@given(trees, trees)
def test_a_comparison_marks_what_a_diff_lists(before: FileTable, after: FileTable) -> None:
    found, expected = compare_tables(before, after), diff(before, after)
    assert marked(found, ADDED) == list(expected.added)
    assert marked(found, REMOVED) == list(expected.removed)
    assert marked(found, CHANGED) == [new for _, new in expected.changed]
    assert found.bytes(ADDED) == expected.bytes_added
    assert found.bytes(CHANGED) == expected.bytes_changed
    assert found.bytes(REMOVED) == expected.bytes_removed


def test_differences_are_found_beyond_long_runs_of_equal_rows() -> None:
    many = [Entry(f"f{n:05}", "file", size=n) for n in range(5000)]
    before = FileTable.from_entries([*many, Entry("g", "file")])
    fewer = [e for n, e in enumerate(many) if n != 1700]
    after = FileTable.from_entries(
        [*fewer[:4000], Entry("f04001", "file", size=1), *fewer[4001:], Entry("e", "dir")]
    )
    found = compare_tables(before, after)
    assert [e.path for e in marked(found, ADDED)] == ["e"]
    assert [e.path for e in marked(found, CHANGED)] == ["f04001"]
    assert [e.path for e in marked(found, REMOVED)] == ["f01700", "g"]


@given(trees, st.sets(st.integers(0, 8)))
def test_a_selections_totals_are_sums_over_its_rows(table: FileTable, chosen: set[int]) -> None:
    selection = RowSelection(table, [row in chosen for row in range(len(table))])
    for start in range(len(table) + 1):
        rows = [row for row in range(start, len(table)) if row in chosen]
        assert selection.count(start, len(table)) == len(rows)
        files = [table.entry(row) for row in rows]
        assert selection.bytes(start, len(table)) == sum(e.size for e in files if e.kind == "file")
