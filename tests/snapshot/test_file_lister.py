"""The file lister, a program of ours in the engine: what it lists, what it refuses, and how it is built."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from stagelens.buildkit.gateway import GatewayContainer, ProcessEnded
from stagelens.errors import StagelensError
from stagelens.snapshot.file_lister import FileLister
from stagelens.snapshot.listing import Folder, ListingError
from stagelens.snapshot.tools import PLATFORMS, binary_path, load_lister
from stagelens.snapshot.tools.__main__ import build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the program is for Linux")
HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
QEMU = {"386": "i386", "amd64": "x86_64", "arm64": "aarch64"}


class LocalProcess:
    """The program as a process of this machine, with the interface of a gateway's process."""

    def __init__(self, command: list[str]) -> None:
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def write(self, data: bytes) -> None:
        assert self.program.stdin
        self.program.stdin.write(data)
        self.program.stdin.flush()

    def read(self, count: int) -> bytes:
        assert self.program.stdout
        data = self.program.stdout.read(count)
        if len(data) < count:
            raise ProcessEnded("A program ended.")
        return data

    def close_input(self) -> None:
        if self.program.stdin:
            self.program.stdin.close()
            self.program.stdin = None

    def end(self) -> None:
        self.program.communicate(timeout=20)


class LocalContainer:
    """Runs the program over a folder of trees."""

    def __init__(self, trees: Path, *command: str) -> None:
        self.command = [*command, str(trees)]
        self.processes: list[LocalProcess] = []

    def start(self, *_: str, env: object) -> LocalProcess:
        self.processes.append(LocalProcess(self.command))
        return self.processes[-1]

    def release(self) -> None: ...


Start = Callable[..., FileLister]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a file lister over the trees in `tmp_path / "trees"`."""
    started: list[FileLister] = []
    (tmp_path / "trees/0").mkdir(parents=True)

    def starting(*command: str) -> FileLister:
        container = LocalContainer(tmp_path / "trees", *(command or (str(binary_path(HERE)),)))
        started.append(FileLister(cast("GatewayContainer", container), 1))
        return started[-1]

    yield starting
    for lister in started:
        lister.end()


def key(path: Path, root: Path) -> bytes:
    return os.fsencode(path.relative_to(root)).replace(b"/", b"\0")


def make_nasty_tree(root: Path) -> None:
    deep = root / "a 'folder\n" / "/".join(["d" * 200] * 15)
    deep.mkdir(parents=True)
    for name in (
        b"new\nline",
        b"'quoted' -> 'x'\n",
        b"\xff raw",
        b"back\\slash",
        b"-n",
        b"$(touch x)",
        b"...",
    ):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(name)
        os.symlink(name + b"\n'", os.fsencode(deep) + b"/to " + name)  # noqa: PTH211
    os.mkfifo(root / "pipe", 0o600)
    os.utime(root / "pipe", (0, -2))
    (root / "a 'folder\n").chmod(0o1751)


@pytest.mark.parametrize("architecture", PLATFORMS)
def test_listing_equals_what_the_system_reports(architecture: str, start: Start, tmp_path: Path) -> None:
    emulator = f"/usr/bin/qemu-{QEMU.get(architecture, architecture)}-static"
    runs_here = architecture == HERE or (architecture, HERE) == ("386", "amd64")
    if not runs_here and not Path(emulator).exists():
        pytest.skip(f"neither {architecture} nor {emulator} here")
    trees = tmp_path / "trees"
    make_nasty_tree(trees / "0")
    lister = start(*([] if runs_here else [emulator]), str(binary_path(architecture)))
    rows = lister.trees(0, [b""])
    table = rows.table()
    assert {entry.path for entry in table} == {str(path.relative_to(trees)) for path in trees.rglob("0/**/*")}
    for entry in table:
        status = (trees / entry.path).lstat()
        assert entry.mode == stat.S_IMODE(status.st_mode)
        assert (entry.kind == "dir", entry.kind == "symlink", entry.kind == "fifo") == (
            stat.S_ISDIR(status.st_mode),
            stat.S_ISLNK(status.st_mode),
            stat.S_ISFIFO(status.st_mode),
        )
        assert (entry.size, entry.uid, entry.gid) == (status.st_size, status.st_uid, status.st_gid)
        assert entry.mtime == status.st_mtime_ns // 1_000_000_000
        if entry.kind == "symlink":
            assert entry.link_target == os.readlink(trees / entry.path)  # noqa: PTH115
        if entry.kind == "dir":
            changed = status.st_ctime_ns // 1_000_000_000
            seen = Folder(status.st_nlink, status.st_ino, changed, status.st_uid, status.st_gid)
            assert rows.folders[key(trees / entry.path, trees)] == seen


def test_contents_are_only_what_is_directly_in_a_folder(start: Start, tmp_path: Path) -> None:
    (tmp_path / "trees/0/a/b/c").mkdir(parents=True)
    (tmp_path / "trees/7/x").mkdir(parents=True)
    lister = start()
    assert sorted(lister.contents([(0, b""), (0, b"a"), (7, b"")]).keys) == [b"0\0a", b"0\0a\0b", b"7\0x"]
    assert lister.trees(0, [b"a\0b", b"a"]).keys == [b"0\0a\0b\0c", b"0\0a\0b", b"0\0a\0b\0c"]
    assert lister.contents([]).keys == []


def test_folder_of_many_files_arrives_in_bounded_frames(start: Start, tmp_path: Path) -> None:
    names = {f"{'n' * 200}{number}" for number in range(10_000)}
    for name in names:
        (tmp_path / "trees/0" / name).touch()
    assert {row[2:].decode() for row in start().trees(0, [b""]).keys} == names


def test_tree_deeper_than_the_longest_path_is_listed(start: Start, tmp_path: Path) -> None:
    at = os.open(tmp_path / "trees/0", os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d" * 100, dir_fd=at)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    try:
        rows = start().trees(0, [b""])
        assert max(map(len, rows.keys)) == 1 + 300 * 101
    finally:
        shutil.rmtree(tmp_path / "trees")
        (tmp_path / "trees").mkdir()


def test_first_bytes_of_a_file_are_read(start: Start, tmp_path: Path) -> None:
    (tmp_path / "trees/0/f").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "trees/0/empty").touch()
    lister = start()
    assert lister.content(0, b"f", 10) == bytes(range(10))
    assert lister.content(0, b"f", 1 << 20) == bytes(range(256)) * 1000
    assert lister.content(0, b"empty", 10) == b""
    assert lister.content(0, b"f", 0) == b""


def test_errors_name_the_file_and_the_reason_and_the_lister_goes_on(start: Start, tmp_path: Path) -> None:
    root = tmp_path / "trees/0"
    (root / "folder").mkdir()
    (root / "link").symlink_to("folder")
    (root / "f").write_bytes(b"x")
    os.mkfifo(root / "pipe")
    lister = start()
    for work, message in (
        (lambda: lister.contents([(0, b"no\0such")]), "cannot open 0/no: No such file or directory"),
        (lambda: lister.trees(3, [b""]), "cannot open 3: No such file"),
        (lambda: lister.contents([(0, b"link")]), "cannot open 0/link: "),
        (lambda: lister.content(0, b"link\0x", 9), "cannot open 0/link: "),
        (lambda: lister.content(0, b"pipe", 9), "not a regular file: 0/pipe"),
        (lambda: lister.content(0, b"folder", 9), "not a regular file: 0/folder"),
        (lambda: lister.contents([(0, b"x" * (1 << 17))]), "File name too long|Filename too long"),
        (lambda: lister.mounted(1000), "cannot look at .?1"),
    ):
        with pytest.raises(ListingError, match=message):
            work()
    assert lister.content(0, b"f", 9) == b"x"


def test_program_that_dies_is_an_error_and_does_not_hang(start: Start, tmp_path: Path) -> None:
    lister = start()
    assert lister.contents([(0, b"")]).keys == []
    container = cast("LocalContainer", lister._container)  # pyright: ignore[reportPrivateUsage]
    parent = container.processes[0].program.pid
    child = int(Path(f"/proc/{parent}/task/{parent}/children").read_text())
    os.kill(child, 9)
    with pytest.raises(ListingError, match="in the middle of its answer"):
        lister.contents([(0, b"")])


def test_malformed_request_is_answered_with_an_error(tmp_path: Path) -> None:
    requests = (b"x", b""), (b"m", b"1"), (b"r", b"12345"), (b"l", b"no end")
    data = b"".join(struct.pack("<cI", kind, len(payload)) + payload for kind, payload in requests)
    done = subprocess.run([binary_path(HERE), tmp_path], input=data, capture_output=True, check=True)
    assert done.stdout.count(b"E") == done.stdout.count(b"Invalid argument") == len(requests)


def test_unknown_platform_is_a_clear_error() -> None:
    with pytest.raises(StagelensError) as caught:
        load_lister("linux", "loong64")
    message = caught.value.render()
    assert "cannot look into stages on this engine" in message
    assert "where: the engine's platform is linux/loong64" in message
    assert "why: the file lister is built for linux on 386, amd64, arm" in message
    assert "next: " in message
    with pytest.raises(StagelensError, match="windows/amd64"):
        load_lister("windows", "amd64")


@pytest.mark.timeout(1800)  # the first time, the compiler builds the C library too
def test_committed_program_is_what_the_source_builds(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    build(tmp_path, ["amd64"])
    assert (tmp_path / binary_path("amd64").name).read_bytes() == binary_path("amd64").read_bytes()


@pytest.mark.parametrize("name", ["x86_64", "aarch64", "armv7l", "i686", *PLATFORMS])
def test_every_architecture_has_a_static_program(name: str) -> None:
    program = load_lister("linux", name)
    assert program[:4] == b"\x7fELF"
    assert b"ld-" not in program, "no dynamic linker"
    assert len(program) < 60_000
