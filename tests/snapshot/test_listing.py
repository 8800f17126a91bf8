"""Listings of the file lister, read back, and the program itself against the system's own answers."""

from __future__ import annotations

import stat
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens.snapshot.listing import Folder, ListingError, read_rows
from stagelens.snapshot.table import Entry, FileTable, Kind, is_clean, path_key

FORMATS: dict[Kind, int] = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
}
FACTS = ("kind", "mode", "uid", "gid", "size", "mtime", "link_target")
# Pieces that could pass for a record, a separator or the end of one, and bytes that are not UTF-8.
PIECES = ["a", "\n", "'", " ", "' -> '", "\\", "\udcff", "\udc80", "81a4 0 0 0 0\n", "'\n", ".wh.x", "é"]
names = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
paths = st.lists(names, min_size=1, max_size=3).map("/".join).filter(is_clean)


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(list(FORMATS)))
    target = draw(names) if kind == "symlink" else None
    return Entry(
        draw(paths),
        kind,
        draw(st.integers(0, 0o7777)),
        draw(st.integers(0, 2**32 - 1)),
        draw(st.integers(0, 2**32 - 1)),
        draw(st.integers(0, 2**63 - 1)) if target is None else len(as_bytes(target)),
        draw(st.integers(-(2**63) + 1, 2**63 - 1)),
        target,
    )


trees = st.lists(entries(), max_size=8, unique_by=lambda entry: entry.path)


def rows_frame(tree: list[Entry]) -> bytes:
    """Return a tree as one frame of the file lister (see `tools/lister.c`)."""
    folders = [(2, 77, 5)] * sum(entry.kind == "dir" for entry in tree)
    keys = b"".join(b"0\0" + path_key(entry.path) + b"/" for entry in tree)
    columns = (
        ("I", [FORMATS[entry.kind] | entry.mode for entry in tree]),
        ("I", [entry.uid for entry in tree]),
        ("I", [entry.gid for entry in tree]),
        ("Q", [entry.size for entry in tree]),
        ("q", [entry.mtime for entry in tree]),
        ("Q", [number for folder in folders for number in folder]),
    )
    counts = struct.pack("<III", len(tree), len(folders), len(keys))
    packed = b"".join(struct.pack(f"<{len(column)}{code}", *column) for code, column in columns)
    targets = b"".join(as_bytes(e.link_target) + b"\0" for e in tree if e.link_target is not None)
    return counts + packed + keys + targets


def one(path: str, kind: Kind = "file", mode: int = 0o644, target: str | None = None) -> Entry:
    return Entry(path, kind, mode, 0, 0, 2, 1, target)


@given(trees)
def test_every_tree_is_read_back_unchanged(tree: list[Entry]) -> None:
    rows = read_rows(rows_frame(tree))
    expected = [Entry(f"0/{e.path}", *[getattr(e, name) for name in FACTS]) for e in tree]
    assert rows.table() == FileTable.from_entries(expected)
    assert rows.folders == {
        path_key(e.path): Folder(2, 77, 5, e.uid, e.gid) for e in expected if e.kind == "dir"
    }


@given(trees.filter(bool), st.data())
def test_truncated_frame_is_refused(tree: list[Entry], data: st.DataObject) -> None:
    frame = rows_frame(tree)
    with pytest.raises(ListingError):
        read_rows(frame[: data.draw(st.integers(0, len(frame) - 1))])


@pytest.mark.parametrize(
    "tree",
    [
        [one("a"), one("a")],
        [one("../a")],
        [one("a/../b")],
        [one("a/./b")],
        [one("a/.")],
        [one("a/")],
        [one("a//b")],
        [one("a", target="to")],
        [one("a", "symlink")],
        [one("a", mode=0o170000)],
    ],
)
def test_inconsistent_frame_is_refused(tree: list[Entry]) -> None:
    with pytest.raises(ListingError):
        read_rows(rows_frame(tree)).table()


def test_frame_with_fewer_keys_than_rows_is_refused() -> None:
    counts = struct.pack("<III", 2, 0, 4)
    with pytest.raises(ListingError, match="1 names, 2 records"):
        read_rows(counts + bytes(56) + b"0\0a/")
