"""A layer that lies on this machine is read as the kernel would show it, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagelens.snapshot import host_layers
from stagelens.snapshot.host_layers import HostLayers
from stagelens.snapshot.layer_scan import scan_layers
from stagelens.snapshot.listing import Folder, Rows
from stagelens.snapshot.table import FileTable

NONE = FileTable.from_entries(())

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="layers lie on Linux hosts alone")


class Asked:
    """Notes what is left to the engine's shells, which see `top` as a snapshot's folders at its root."""

    def __init__(self, top: Mapping[str, Folder]) -> None:
        self.top = top
        self.folders: list[tuple[int, bytes]] = []

    def contents(self, folders: Sequence[tuple[int, bytes]]) -> Rows:
        assert [key for _, key in folders] == [b""]
        number = folders[0][0]
        return Rows(
            folders={b"%d\0%b" % (number, os.fsencode(name)): seen for name, seen in self.top.items()}
        )

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
    changed = status.st_ctime_ns // 1_000_000_000
    return Folder(status.st_nlink, status.st_ino, changed, status.st_uid, status.st_gid)


def read(
    key: bytes,
    folder: Folder | None,
    layers: Mapping[int, Sequence[bytes]],
    top: Mapping[str, Folder] | None = None,
) -> tuple[FileTable, int]:
    """What was read, and how many folders were left to the shells."""
    asked = Asked(top or {})
    rows = HostLayers(asked, layers).trees(3, {key: folder})
    return rows.table(), len(asked.folders)


def test_all_below_a_folder_comes_with_the_snapshots_number(layer: Path) -> None:
    table, left = read(b"a\0b", seen(layer / "a/b"), {3: [os.fsencode(layer)]})
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
    ours = {3: [os.fsencode(layer)]}
    for wrong in (
        right._replace(inode=right.inode + 1),
        right._replace(changed=right.changed - 1),
        right._replace(uid=right.uid + 100_000),  # in a user namespace
        right._replace(gid=right.gid + 100_000),
        right._replace(links=1),  # as the kernel counts where several layers have it
    ):
        assert read(b"a\0b", wrong, ours) == (NONE, 1)
    for layers in ({}, {3: []}, {3: [b"/not/there"]}, {3: [b"8:1:/relative"]}, {2: [os.fsencode(layer)]}):
        assert read(b"a\0b", right, layers)[1] == 1


def test_a_snapshot_is_read_where_all_folders_at_its_top_are_those_that_the_container_sees(
    layer: Path, tmp_path: Path
) -> None:
    upper = tmp_path / "upper"
    (upper / "a").mkdir(parents=True)
    (upper / "e").mkdir()
    ours = {3: [os.fsencode(upper), os.fsencode(layer)]}
    (layer / "d").mkdir()
    top = {"a": seen(upper / "a"), "d": seen(layer / "d"), "e": seen(upper / "e")}
    table, left = read(b"", None, ours, top)
    assert left == 0
    assert {"3/a/b/c/f", "3/d", "3/e"} < {entry.path for entry in table}
    for wrong in (
        top | {"a": seen(layer / "a")},
        top | {"d": top["d"]._replace(inode=1)},
        top | {"x": top["d"]},
        {},
    ):
        assert read(b"", None, ours, wrong) == (NONE, 1)


def test_a_large_tree_is_read_by_a_program_of_its_own_and_the_same(
    layer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {3: [os.fsencode(layer)]}
    top = {"a": seen(layer / "a")}
    here = [read(b"a\0b", seen(layer / "a/b"), ours), read(b"", None, ours, top)]
    monkeypatch.setattr(host_layers, "_ENTRIES_HERE", 1)
    assert [read(b"a\0b", seen(layer / "a/b"), ours), read(b"", None, ours, top)] == here
    monkeypatch.setattr(sys, "executable", "/not/there")
    assert read(b"", None, ours, top) == (NONE, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="an overlay's marks are made by root alone")
def test_marks_of_an_overlay_are_no_files_and_a_folder_that_needs_other_layers_is_left(layer: Path) -> None:
    os.mknod(layer / "a/b/gone", 0o20000)  # a character device 0:0
    folder = seen(layer / "a/b")
    table, left = read(b"a\0b", folder, {3: [os.fsencode(layer)]})
    assert left == 0
    assert table.get("3/a/b/gone") is None
    os.setxattr(layer / "a/b/c", "trusted.overlay.redirect", b"/other")
    assert read(b"a\0b", folder, {3: [os.fsencode(layer)]}) == (NONE, 1)


NAMES = ("a", "b", "c")
NODE = st.recursive(
    st.sampled_from(("file", "whiteout")),
    lambda inner: st.tuples(st.booleans(), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)),
    max_leaves=8,
)
LAYER = st.dictionaries(st.sampled_from(NAMES), NODE, max_size=3)


def write(folder: Path, names: Mapping[str, Any], number: int) -> None:
    """Make a layer's folder: a name is a file, a whiteout, or a folder, which may be opaque."""
    folder.mkdir()
    for name, node in names.items():
        if node == "file":
            (folder / name).write_bytes(b"x" * number)
        elif node == "whiteout":
            os.mknod(folder / name, 0o20000)
        else:
            opaque, inner = node
            write(folder / name, inner, number)
            if opaque:
                os.setxattr(folder / name, "trusted.overlay.opaque", b"y")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts an overlay")
@settings(max_examples=60, deadline=None)
@given(layers=st.lists(LAYER, min_size=2, max_size=4))
def test_layers_are_read_as_the_kernel_shows_them(layers: list[Mapping[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, str(number)) for number in range(len(layers))]
        for number, (folder, names) in enumerate(zip(folders, layers, strict=True), 1):
            write(folder, names, number)
        place = Path(name, "merged")
        place.mkdir()
        options = "lowerdir=" + ":".join(map(str, folders))
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, place], check=True)
        try:
            shown = {
                os.fsencode(path.relative_to(place)).replace(b"/", b"\0"): (
                    s.st_mode,
                    s.st_size,
                    int(s.st_mtime),
                )
                for path in place.rglob("*")
                if os.path.lexists(path)
                and (s := path.lstat())  # of a folder's marks it shows the names alone
            }
        finally:
            subprocess.run(["umount", place], check=True)
        keys, modes, _, _, sizes, mtimes, _ = scan_layers([os.fsencode(folder) for folder in folders])
    assert dict(zip(keys, zip(modes, sizes, mtimes, strict=True), strict=True)) == shown
