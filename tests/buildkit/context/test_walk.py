"""A walk yields the same paths, order and metadata as fsutil."""

from __future__ import annotations

import importlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from stagelens_testing.resources import open_descriptors_in

from stagelens.buildkit.context import ContextEntry, ContextError, PatternError, walk
from stagelens.buildkit.context.folder import open_root
from stagelens.buildkit.context.walker import go_mode

WALKS = json.loads((Path(__file__).parent / "data" / "walks.json").read_text(encoding="utf-8"))
Plant = Callable[[Path, Iterable[str]], None]
Tell = Callable[[Iterable[ContextEntry]], list[str]]
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def entries(root: Path, **patterns: Iterable[str]) -> dict[bytes, ContextEntry]:
    return {entry.path: entry for entry in walk(root, **patterns)}  # pyright: ignore[reportArgumentType]


def test_random_trees_are_walked_like_in_fsutil(tmp_path: Path, plant: Plant, tell: Tell) -> None:
    wrong: list[object] = []
    for number, case in enumerate(WALKS):
        root = tmp_path / str(number)
        root.mkdir()
        plant(root, case["tree"])
        found = walk(root, include=case["include"], exclude=case["exclude"], follow=case["follow"])
        if (told := tell(found)) != case["walk"]:
            wrong.append((case, told))
    assert wrong == []


def test_folders_are_paths_without_descriptors(
    tmp_path: Path, plant: Plant, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("stagelens.buildkit.context.walker")
    monkeypatch.setattr(module, "open_root", lambda root: open_root(root, descriptors=False))  # pyright: ignore
    for number, case in enumerate(WALKS[:60]):
        root = tmp_path / str(number)
        root.mkdir()
        plant(root, case["tree"])
        found = walk(root, include=case["include"], exclude=case["exclude"], follow=case["follow"])
        assert tell(found) == case["walk"]


def test_order_is_by_component_in_bytes(tmp_path: Path, plant: Plant, tell: Tell) -> None:
    plant(tmp_path, ["a/b", "a.b", "a-b", "A", "ä", "b"])
    assert tell(walk(tmp_path)) == ["A", "a/", "a/b", "a-b", "a.b", "b", "ä"]


def test_folder_comes_just_before_its_included_contents(tmp_path: Path, plant: Plant, tell: Tell) -> None:
    plant(tmp_path, ["a/b/c/yes", "a/b/no", "d/e/no", "f"])
    assert tell(walk(tmp_path, include=["a/b/c/yes"])) == ["a/", "a/b/", "a/b/c/", "a/b/c/yes"]
    assert tell(walk(tmp_path, exclude=["*", "!a/b/c"])) == ["a/", "a/b/", "a/b/c/", "a/b/c/yes"]


def test_root_may_be_a_symlink_and_must_be_a_folder(tmp_path: Path, plant: Plant, tell: Tell) -> None:
    plant(tmp_path, ["real/a", "link -> real", "file"])
    assert tell(walk(tmp_path / "link")) == ["a"]
    for name in ("file", "none"):
        with pytest.raises(ContextError, match="not a readable folder"):
            walk(tmp_path / name)


def test_invalid_pattern_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(PatternError):
        walk(tmp_path, exclude=["["])


def test_metadata_of_files_links_and_folders(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    os.utime(tmp_path / "f", ns=(1, 1_234_567_890_123_456_789))
    (tmp_path / "f").chmod(0o6755)
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(0o1777)
    (tmp_path / "l").symlink_to("/nowhere")
    found = entries(tmp_path)
    assert found[b"f"].mode == 1 << 23 | 1 << 22 | 0o755
    assert (found[b"f"].size, found[b"f"].mtime_ns) == (5, 1_234_567_890_123_456_789)
    assert found[b"d"].mode == 1 << 31 | 1 << 20 | 0o777
    assert found[b"d"].size == 0
    assert found[b"l"].mode == 1 << 27 | 0o777
    assert (found[b"l"].linkname, found[b"l"].size) == (b"/nowhere", 8)
    assert found[b"f"].is_regular
    assert not found[b"d"].is_regular
    assert not found[b"l"].is_regular


def test_times_before_1970_are_preserved(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    os.utime(tmp_path / "old", ns=(-5, -5_000_000_001))
    assert entries(tmp_path)[b"old"].mtime_ns == -5_000_000_001


def test_owners_are_zero_unless_requested(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    if os.geteuid() == 0:
        os.chown(tmp_path / "f", 1234, 5678)
    status = (tmp_path / "f").stat()
    assert (entries(tmp_path)[b"f"].uid, entries(tmp_path)[b"f"].gid) == (0, 0)
    kept = next(walk(tmp_path, keep_owner=True))
    assert (kept.uid, kept.gid) == (status.st_uid, status.st_gid)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFREG | 0o600, 0o755 & (0o600 | 0o111)),
        (stat.S_IFREG | 0o666, 0o755),
        (stat.S_IFDIR | 0o777, 1 << 31 | 0o755),
    ],
)
def test_windows_files_become_executable(mode: int, expected: int) -> None:
    assert go_mode(mode, windows=True) == expected


@linux
def test_special_files_are_announced_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o644)
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path may have 107 bytes only
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        found = entries(tmp_path)
    assert found[b"fifo"].mode & ~0o777 == 1 << 25
    assert not found[b"fifo"].is_regular
    # What fsutil makes of a socket: an empty regular file.
    assert found[b"socket"].is_regular
    assert found[b"socket"].size == 0


@linux
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes devices")
def test_device_numbers_are_preserved(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "char", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mknod(tmp_path / "block", stat.S_IFBLK | 0o600, os.makedev(259, 70000))
    except PermissionError:
        pytest.skip("this machine lets nobody make devices")
    found = entries(tmp_path)
    assert found[b"char"].mode == 1 << 26 | 1 << 21 | 0o600
    assert (found[b"char"].devmajor, found[b"char"].devminor) == (1, 3)
    assert found[b"block"].mode == 1 << 26 | 0o600
    assert (found[b"block"].devmajor, found[b"block"].devminor) == (259, 70000)


def test_hard_links_refer_to_the_first_announced_name(tmp_path: Path, plant: Plant, tell: Tell) -> None:
    plant(tmp_path, ["a", "b = a", "c/d = a", "l -> a"])
    os.link(tmp_path / "l", tmp_path / "m", follow_symlinks=False)
    assert tell(walk(tmp_path)) == ["a", "b = a", "c/", "c/d = a", "l -> a", "m -> a"]
    assert tell(walk(tmp_path, exclude=["a"])) == ["b", "c/", "c/d = b", "l -> a", "m -> a"]
    assert entries(tmp_path)[b"b"].size == 1  # as fsutil has it


@linux
def test_extended_attributes_are_announced(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    try:
        os.setxattr(tmp_path / "f", "user.note", b"\x00\xff")
        os.setxattr(tmp_path / "f", "user.com.apple", b"kept")
        os.setxattr(tmp_path / "d", "user.folder", b"1")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    found = entries(tmp_path)
    assert dict(found[b"f"].xattrs) == {"user.note": b"\x00\xff", "user.com.apple": b"kept"}
    assert dict(found[b"d"].xattrs) == {"user.folder": b"1"}


@linux
def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    names = [b"\xff\xfe", b"new\nline", b"tab\t", b" ", b"-", b"a" * 255, "é".encode(), "e\u0301".encode()]
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    assert [entry.path for entry in walk(tmp_path)] == sorted(names)


@linux
def test_tree_deeper_than_the_longest_path(tmp_path: Path) -> None:
    levels = 1000
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("deeper", dir_fd=here)
        os.mkdir("z", dir_fd=here)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    paths = [entry.path for entry in walk(tmp_path)]
    subprocess.run(["rm", "-rf", tmp_path / "deeper"], check=True)  # Python's own way is recursive
    assert len(paths) == 2 * levels
    assert paths[levels - 1] == b"/".join([b"deeper"] * levels)
    assert paths[-1] == b"z"  # folders further up were opened again on the way back
    assert open_descriptors_in(tmp_path) == []


def test_a_folder_of_50000_files(tmp_path: Path) -> None:
    for number in range(50_000):
        os.close(os.open(tmp_path / f"{number:05}", os.O_CREAT | os.O_WRONLY))
    assert sum(1 for _ in walk(tmp_path, exclude=["*7"])) == 45_000


def test_unreadable_folder_is_named_with_a_remedy(
    tmp_path: Path, plant: Plant, tell: Tell, as_nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    plant(tmp_path, ["a/secret/x", "b"])
    (tmp_path / "a" / "secret").chmod(0)
    with as_nobody():
        with pytest.raises(ContextError) as raised:
            list(walk(tmp_path))
        assert tell(walk(tmp_path, exclude=["a/secret"])) == ["a/", "b"]
        # Left out, and only looked into for the sake of an exception: not being allowed to is no error.
        assert tell(walk(tmp_path, exclude=["a/secret", "!**/x"])) == ["a/", "b"]
    (tmp_path / "a" / "secret").chmod(0o700)
    assert raised.value.where == "a/secret"
    assert raised.value.remedy is not None
    assert ".dockerignore" in raised.value.remedy


def test_paths_that_vanish_during_the_walk_are_left_out(tmp_path: Path, plant: Plant, tell: Tell) -> None:
    plant(tmp_path, ["a", "b/c", "d", "e"])
    found = walk(tmp_path)
    first = next(found)
    (tmp_path / "b" / "c").unlink()
    (tmp_path / "b").rmdir()
    (tmp_path / "d").unlink()
    assert tell([first, *found]) == ["a", "e"]


@linux
def test_folder_replaced_by_a_symlink_is_not_entered(tmp_path: Path, plant: Plant, tell: Tell) -> None:
    plant(tmp_path, ["outside/secret", "context/a", "context/b/c", "context/d"])
    found = walk(tmp_path / "context")
    first = next(found)
    (tmp_path / "context" / "b").rename(tmp_path / "gone")
    (tmp_path / "context" / "b").symlink_to(tmp_path / "outside")
    assert tell([first, *found]) == ["a", "d"]


def test_symlinks_are_announced_and_never_followed(tmp_path: Path, plant: Plant, tell: Tell) -> None:
    plant(tmp_path, ["outside/secret", "context/out -> ../outside", "context/loop -> .", "context/me -> me"])
    assert tell(walk(tmp_path / "context")) == ["loop -> .", "me -> me", "out -> ../outside"]


@linux
def test_closed_walk_leaves_nothing_open(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, ["a/b/c/d", "a/b/c/e"])
    found = walk(tmp_path)
    while next(found).path != b"a/b/c/d":
        pass
    assert open_descriptors_in(tmp_path) != []
    found.close()
    assert open_descriptors_in(tmp_path) == []


@linux
def test_changing_tree_does_not_break_a_walk(tmp_path: Path) -> None:
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for number in range(20):
                folder = tmp_path / f"d{number}"
                folder.mkdir(exist_ok=True)
                (folder / "f").write_text("x")
            for number in range(20):
                (tmp_path / f"d{number}" / "f").unlink()
                (tmp_path / f"d{number}").rmdir()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(50):
            paths = [entry.path for entry in walk(tmp_path)]
            assert paths == sorted(paths, key=lambda path: path.split(b"/"))
    finally:
        stop.set()
        thread.join()


def test_ten_thousand_files_against_fifty_patterns(tmp_path: Path) -> None:
    for number in range(100):
        folder = tmp_path / f"d{number}"
        folder.mkdir()
        for name in range(100):
            os.close(os.open(folder / f"f{name}.txt", os.O_CREAT | os.O_WRONLY))
    exclude = [f"**/x{number}*.tmp" for number in range(49)] + ["d7", "!d7/f1.txt"]
    assert len(list(_files(walk(tmp_path, exclude=exclude)))) == 9901


def _files(found: Iterable[ContextEntry]) -> Iterator[ContextEntry]:
    return (entry for entry in found if entry.is_regular)
