"""A layer that lies on this machine is read as the kernel would show it, or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from stagelens.snapshot.host import HostLayers
from stagelens.snapshot.listing import Folder, Rows
from stagelens.snapshot.table import FileTable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="layers lie on Linux hosts alone")


class Asked:
    """Notes what is left to the engine's shells."""

    def __init__(self) -> None:
        self.folders: list[tuple[int, bytes]] = []

    def contents(self, folders: Sequence[tuple[int, bytes]]) -> Rows:
        self.folders += folders
        return Rows()

    def trees(self, number: int, folders: Mapping[bytes, Folder | None]) -> Rows:
        self.folders += [(number, key) for key in folders]
        return Rows()


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer with a tree in a/b, among it names that are not UTF-8."""
    root = tmp_path / "layer"
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/c/f").write_bytes(b"12345")
    (root / "a/b/link").symlink_to("c/f")
    os.mkfifo(root / "a/b/pipe", 0o600)
    (root / os.fsdecode(b"a/b/\xff")).write_bytes(b"")
    return root


def seen(folder: Path) -> Folder:
    status = folder.lstat()
    return Folder(status.st_nlink, status.st_ino, status.st_ctime_ns // 1_000_000_000)


def read(key: bytes, folder: Folder | None, layers: Mapping[int, bytes]) -> tuple[FileTable, int]:
    """What was read, and how many folders were left to the shells."""
    asked = Asked()
    rows = HostLayers(asked, layers).trees(3, {key: folder})
    return rows.table(), len(asked.folders)


def test_all_below_a_folder_comes_with_the_snapshots_number(layer: Path) -> None:
    table, left = read(b"a\0b", seen(layer / "a/b"), {3: os.fsencode(layer)})
    assert left == 0
    facts = {entry.path: (entry.kind, entry.size, entry.link_target) for entry in table}
    assert facts["3/a/b/c/f"] == ("file", 5, None)
    assert facts["3/a/b/link"] == ("symlink", 3, "c/f")
    assert facts["3/a/b/pipe"][0] == "fifo"
    assert facts.keys() - {"3/a/b/c/f", "3/a/b/link", "3/a/b/pipe"} == {"3/a/b/c", "3/a/b/\udcff"}
    entry = table.get("3/a/b/pipe")
    assert entry
    assert (entry.mode, entry.uid, entry.mtime) == (
        0o600,
        os.getuid(),
        int((layer / "a/b/pipe").stat().st_mtime),
    )


def test_another_folder_than_the_engine_saw_is_left_to_the_engine(layer: Path) -> None:
    right = seen(layer / "a/b")
    ours = {3: os.fsencode(layer)}
    wrong = [right._replace(inode=right.inode + 1), right._replace(changed=right.changed - 1), None]
    for folder in wrong:
        assert read(b"a\0b", folder, ours) == (FileTable.from_entries(()), 1)
    for layers in ({}, {3: b"/not/there"}, {3: b"8:1:/relative"}, {2: os.fsencode(layer)}):
        assert read(b"a\0b", right, layers)[1] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="an overlay's marks are made by root alone")
def test_marks_of_an_overlay_are_no_files_and_a_folder_that_needs_other_layers_is_left(layer: Path) -> None:
    os.mknod(layer / "a/b/gone", 0o20000)  # a character device 0:0
    folder = seen(layer / "a/b")
    table, left = read(b"a\0b", folder, {3: os.fsencode(layer)})
    assert left == 0
    assert table.get("3/a/b/gone") is None
    os.setxattr(layer / "a/b/c", "trusted.overlay.redirect", b"/other")
    assert read(b"a\0b", folder, {3: os.fsencode(layer)}) == (FileTable.from_entries(()), 1)
