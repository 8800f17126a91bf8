"""File trees: which rows are shown, in which order, and how many an answer has."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import pytest

from stagelens.snapshot import Entry, FileTable, compare_tables
from stagelens.views import file_tree as trees
from stagelens.views.file_tree import FileTree


def table(*entries: Entry) -> FileTable:
    return FileTable.from_entries(entries)


BEFORE = table(
    Entry("app", "dir"),
    Entry("app/old.txt", "file", size=7),
    Entry("app/same.txt", "file", size=3),
    Entry("app/list.txt", "file", size=5),
    Entry("bin", "dir"),
    Entry("bin/sh", "file", size=100),
    Entry("tmp", "dir"),
    Entry("tmp/x", "file", size=1),
)
AFTER = table(
    Entry("app", "dir"),
    Entry("app/list.txt", "file", size=9),
    Entry("app/same.txt", "file", size=3),
    Entry("app/new.jar", "file", size=50),
    Entry("bin", "dir"),
    Entry("bin/sh", "file", size=100),
    Entry("lib/deep/one.so", "file", size=2),
    Entry("link", "symlink", link_target="bin/sh"),
)


def rows(folder: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {row[0]: (row[2], row[3], row[4]) for row in folder["rows"]}


def test_folder_has_rows_of_both_tables_with_marks_and_sizes() -> None:
    found = FileTree(compare_tables(BEFORE, AFTER))
    assert rows(found.folder("app")) == {
        "list.txt": (9, "changed", 1),
        "new.jar": (50, "added", 1),
        "old.txt": (7, "removed", 1),
        "same.txt": (3, "", 0),
    }
    assert rows(found.folder("")) == {
        "app": (62, "", 3),
        "bin": (100, "", 0),
        "lib": (2, "", 1),
        "link": (0, "added", 1),
        "tmp": (1, "removed", 2),
    }
    assert found.folder("no/such") == {"rows": [], "total": 0}


def test_only_changes_hides_unchanged_rows_and_their_sizes() -> None:
    found = FileTree(compare_tables(BEFORE, AFTER), "changes")
    assert set(rows(found.folder(""))) == {"app", "lib", "link", "tmp"}
    assert rows(found.folder(""))["app"] == (59, "", 3)
    assert set(found.opened()) == {"", "app", "lib", "lib/deep", "tmp"}


def test_left_behind_shows_only_marked_rows() -> None:
    left = bytes(AFTER.entry(row).path == "app/new.jar" for row in range(len(AFTER)))
    found = FileTree(compare_tables(BEFORE, AFTER), "left-behind", left=left)
    assert rows(found.folder("")) == {"app": (50, "", 3)}
    assert found.totals() == {"rows": 1, "bytes": 50}


@pytest.mark.parametrize(
    ("needle", "paths"),
    [
        ("NEW", {"app/new.jar"}),
        ("*.so", {"lib/deep/one.so"}),
        ("app/*.txt", {"app/list.txt", "app/same.txt", "app/old.txt"}),
        ("/bin/", {"bin/sh"}),
        ("nothing", set()),
    ],
)
def test_filter_keeps_matching_paths_and_their_folders(needle: str, paths: set[str]) -> None:
    folders = FileTree(compare_tables(BEFORE, AFTER), needle=needle).opened()
    shown = {
        f"{path}/{row[0]}".lstrip("/") for path, f in folders.items() for row in f["rows"] if row[1] != "dir"
    }
    assert shown == paths


def test_rows_sort_by_size() -> None:
    folder = FileTree(compare_tables(BEFORE, AFTER)).folder("app", sort="size")
    assert [row[0] for row in folder["rows"]] == ["new.jar", "list.txt", "old.txt", "same.txt"]


def test_names_and_targets_are_shown_as_text() -> None:
    hostile = table(Entry("a\n<b>\u202e", "symlink", link_target="\x1b[31m"))
    (row,) = FileTree(compare_tables(hostile, hostile)).folder("")["rows"]
    assert row[0] == "a\\u{a}<b>\\u{202e}"
    assert row[6] == "\\u{1b}[31m"


def test_large_folder_continues_at_an_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MAX_BYTES", 100 * 1000)
    long = table(*(Entry(f"{n:03}" + "x" * 4093, "file") for n in range(60)))
    found = FileTree(compare_tables(long, long))
    seen: list[str] = []
    while len(seen) < 60:
        folder = found.folder("", offset=len(seen))
        assert folder["total"] == 60
        assert len(json.dumps(folder)) < 110 * 1000
        seen += [row[0][:3] for row in folder["rows"]]
    assert seen == [f"{n:03}" for n in range(60)]


@pytest.fixture(scope="module")
def large() -> FileTable:
    """100,000 files, half of them in one folder."""
    wide = [Entry(f"wide/file-{n:05}.txt", "file", size=n) for n in range(50_000)]
    deep = [Entry(f"src/p{n % 500}/q{n % 20}/file-{n}.c", "file", size=n) for n in range(50_000)]
    return table(Entry("wide", "dir"), *wide, *deep)


def test_answers_for_large_trees_and_folders_are_small(large: FileTable) -> None:
    found = FileTree(compare_tables(large, large))
    assert len(json.dumps(found.opened())) < 1000
    wide = found.folder("wide")
    assert len(wide["rows"]) == wide["total"] == 50_000
    assert len(json.dumps(wide)) < trees.MAX_BYTES


def test_filter_on_a_large_tree_sends_few_rows(large: FileTable) -> None:
    found = FileTree(compare_tables(large, large), needle=".c")
    assert found.totals()["rows"] == 50_000
    assert len(json.dumps(found.opened())) < 64 * 1024


def test_tree_uses_at_most_200_bytes_for_each_file(large: FileTable) -> None:
    tracemalloc.start()
    try:
        copy = FileTable.from_bytes(large.to_bytes())
        found = [FileTree(compare_tables(copy, copy)), FileTree(compare_tables(copy, copy), "changes")]
        for each in found:
            each.folder("wide")
            copy.usage("wide")
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 200 * len(large)


def test_only_the_root_opens_in_a_tree_with_many_changes() -> None:
    names = [f"d/{number}" for number in range(trees.MAX_OPENED + 1)]
    many = table(Entry("d", "dir"), *(Entry(name, "file") for name in names))
    assert list(FileTree(compare_tables(table(), many)).opened()) == [""]
    assert list(
        FileTree(compare_tables(table(), table(Entry("d", "dir"), Entry("d/1", "file")))).opened()
    ) == [
        "",
        "d",
    ]
