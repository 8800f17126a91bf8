"""A probe's listing is read to the letter or refused, whatever the names in it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stagelens.snapshot.entry import Entry, Kind
from stagelens.snapshot.listing import PROLOGUE, Folder, ListingError, list_command, read_listing
from stagelens.snapshot.table import FileTable, is_clean, path_key

FORMATS: dict[Kind, int] = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
}
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


ROOT = b"/p/"
FACTS = " 2 77 5"  # links, inode, ctime


def listing(tree: list[Entry]) -> tuple[bytes, bytes, bytes]:
    """What busybox prints of a tree, as its source (coreutils/stat.c, findutils/find.c) has it."""
    found = b"".join(ROOT + as_bytes(e.path) + b"\0" for e in tree)
    facts = "".join(f"{FORMATS[e.kind] | e.mode:x} {e.uid} {e.gid} {e.size} {e.mtime}{FACTS}\n" for e in tree)
    links = b"".join(
        b"'" + ROOT + as_bytes(e.path) + b"' -> '" + as_bytes(e.link_target) + b"'\n"
        for e in tree
        if e.link_target is not None
    )
    return found, facts.encode(), links


@given(trees)
def test_every_tree_comes_back(tree: list[Entry]) -> None:
    rows = read_listing(*listing(tree), ROOT)
    assert rows.table() == FileTable.from_entries(tree)
    assert rows.folders == {path_key(e.path): Folder(2, 77, 5) for e in tree if e.kind == "dir"}


@given(trees.filter(bool), st.integers(0, 2), st.data())
def test_a_part_that_is_cut_short_is_refused(tree: list[Entry], part: int, data: st.DataObject) -> None:
    parts = list(listing(tree))
    assume(parts[part])
    parts[part] = parts[part][: data.draw(st.integers(0, len(parts[part]) - 1))]
    with pytest.raises(ListingError):
        read_listing(parts[0], parts[1], parts[2], ROOT)


@pytest.mark.parametrize(
    ("names", "facts", "links"),
    [
        (b"/p/a", b"81a4 0 0 1 1 1 1 1\n", b""),
        (b"/p/a\0", b"", b""),
        (b"/p/a\0", b"81a4 0 0 1 1 1 1\n", b""),
        (b"/p/a\0", b"81a4 0 0 -1 1 1 1 1\n", b""),
        (b"/p/a\0", b"81a4 4294967296 0 1 1 1 1 1\n", b""),
        (b"/p/a\0", b"1a4 0 0 1 1 1 1 1\n", b""),
        (b"/p/a\0/p/a\0", b"81a4 0 0 1 1 1 1 1\n81a4 0 0 1 1 1 1 1\n", b""),
        (b"/p/../a\0", b"81a4 0 0 1 1 1 1 1\n", b""),
        (b"/q/a\0", b"81a4 0 0 1 1 1 1 1\n", b""),
        (b"/p/a/\0", b"81a4 0 0 1 1 1 1 1\n", b""),
        (b"/p/a\0", b"a1ff 0 0 3 1 1 1 1\n", b"'/p/a' -> 'to'\n"),
        (b"/p/a\0", b"a1ff 0 0 2 1 1 1 1\n", b"'/p/b' -> 'to'\n"),
        (b"/p/a\0", b"81a4 0 0 2 1 1 1 1\n", b"'/p/a' -> 'to'\n"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(names: bytes, facts: bytes, links: bytes) -> None:
    with pytest.raises(ListingError):
        read_listing(names, facts, links, ROOT).table()


@pytest.mark.skipif(shutil.which("busybox") is None, reason="no busybox here; the probe's tests have one")
def test_busyboxs_own_listing_says_what_the_system_says(tmp_path: Path) -> None:
    root = tmp_path / "root 'of\n\x81it'"
    deep = root / "/".join(["d" * 200] * 15)
    deep.mkdir(parents=True)
    for name in (b"new\nline", b"'quoted' -> 'x'\n", b"\xff raw", b"back\\slash", b"-n", b"$(touch x)"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(name)
        os.symlink(name + b"\n'", os.fsencode(deep) + b"/to " + name)  # noqa: PTH211
    os.mkfifo(root / "pipe", 0o600)
    os.utime(root / "pipe", (0, -2))
    busybox = tmp_path / "bin"
    busybox.mkdir()
    for tool in ("sh", "find", "stat", "wc", "cat"):
        (busybox / tool).symlink_to(shutil.which("busybox") or "")
    script = PROLOGUE.encode() + list_command([os.fsencode(root)], os.fsencode(tmp_path / "out"), deep=True)
    shell = subprocess.run(
        [busybox / "sh"], input=script, capture_output=True, check=True, env={"PATH": str(busybox)}
    )
    line, _, rest = shell.stdout.partition(b"\n")
    failed, names, facts, links = map(int, line.split())
    assert (failed, names + facts + links) == (0, len(rest))
    parts = rest[:names], rest[names : names + facts], rest[names + facts :]
    table = read_listing(*parts, os.fsencode(root) + b"/").table()
    seen = {path.relative_to(root).as_posix() for path in root.rglob("*")}
    assert {entry.path for entry in table} == seen
    for entry in table:
        status = (root / entry.path).lstat()
        assert entry.mode == stat.S_IMODE(status.st_mode)
        assert FORMATS[entry.kind] == stat.S_IFMT(status.st_mode)
        assert (entry.size, entry.uid, entry.gid) == (status.st_size, status.st_uid, status.st_gid)
        assert entry.mtime == status.st_mtime_ns // 1_000_000_000
        if entry.kind == "symlink":
            assert entry.link_target == os.readlink(root / entry.path)  # noqa: PTH115
