"""The context as a tar: Python's tarfile and GNU tar extract the same tree."""

from __future__ import annotations

import importlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from stagelens_testing.resources import memory_growth

from stagelens.buildkit.context import ContextEntry, ContextError, tar_stream, walk
from stagelens.buildkit.context.content import CHUNK_BYTES

Plant = Callable[[Path, Iterable[str]], None]
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def read_back(chunks: Iterator[bytes]) -> dict[str, tarfile.TarInfo]:
    archive = tarfile.open(fileobj=io.BytesIO(b"".join(chunks)), errors="surrogateescape")  # noqa: SIM115
    return {member.name: member for member in archive}


def test_every_kind_of_path_is_announced(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, ["a", "b = a", "d/e/", "l -> a", "d/x"])
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "a").chmod(0o4751)
    os.utime(tmp_path / "a", ns=(0, 1_234_567_890_999_999_999))
    members = read_back(tar_stream(tmp_path))
    assert list(members) == ["a", "b", "d", "d/e", "d/x", "l"]
    assert (members["a"].size, members["a"].mode, members["a"].mtime) == (5, 0o4751, 1_234_567_890)
    assert (members["a"].uid, members["a"].gid) == (0, 0)
    assert members["b"].islnk()
    assert members["b"].linkname == "a"
    assert members["d"].isdir()
    assert members["l"].issym()
    assert members["l"].linkname == "a"


def test_matching_paths_are_left_out(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, ["a", "b/c", "b/d"])
    assert list(read_back(tar_stream(tmp_path, exclude=["a", "b", "!b/d"]))) == ["b", "b/d"]


def test_extra_files_come_first_and_replace_files_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / ".file").write_text("from disk")
    (tmp_path / "A").touch()
    data = b"".join(tar_stream(tmp_path, extra=[(".file", b"given"), ("other", b"")]))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == [".file", "other", "A"]
        file = archive.extractfile(".file")
        assert file is not None
        assert file.read() == b"given"


def test_first_kibibyte_is_recognized_as_an_archive(tmp_path: Path) -> None:
    # BuildKit looks no further; a long name, as GNU and PAX write it, would need three blocks.
    (tmp_path / ("A" * 200)).touch()
    data = b"".join(tar_stream(tmp_path, extra=[("Dockerfile", b"FROM scratch\n")]))
    assert tarfile.TarInfo.frombuf(data[:512], "utf-8", "strict").name == "Dockerfile"
    assert b"././@LongLink" in data[1024:]


@linux
def test_names_and_targets_of_any_length_and_any_bytes(tmp_path: Path) -> None:
    long = "/".join(["n" * 255] * 4)
    (tmp_path / long).parent.mkdir(parents=True)
    (tmp_path / long).write_text("deep")
    (tmp_path / os.fsdecode(b"\xff\xfe")).write_text("bytes")
    (tmp_path / "new\nline").touch()
    (tmp_path / "link").symlink_to("t" * 300)
    members = read_back(tar_stream(tmp_path))
    assert members[long].size == 4
    assert members[os.fsdecode(b"\xff\xfe")].size == 5
    assert "new\nline" in members
    assert members["link"].linkname == "t" * 300


@linux
@pytest.mark.skipif(shutil.which("tar") is None, reason="no GNU tar here")
def test_gnu_tar_unpacks_the_same_tree(tmp_path: Path, plant: Plant) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    plant(source, ["a", "b = a", "d/e/", "l -> a", "d/" + "x" * 200, "é"])
    os.mkfifo(source / "fifo")
    os.utime(source / "a", ns=(0, -5_000_000_000))
    target.mkdir()
    data = b"".join(tar_stream(source))
    subprocess.run(["tar", "-x", "-p", "-C", target], input=data, check=True)
    assert _told(target) == _told(source)


def _told(root: Path) -> list[tuple[bytes, int, int, bytes]]:
    return [(e.path, e.mode, e.mtime_ns // 10**9 if e.is_regular else 0, e.linkname) for e in walk(root)]


IMPORTS = """
from pathlib import Path
from stagelens.buildkit.context import tar_stream
from stagelens.buildkit.context.content import CHUNK_BYTES
"""
STREAM = """
sizes = [len(chunk) for chunk in tar_stream(Path(sys.argv[1]))]
assert sum(sizes) == (1 << 30) + 3 * 512
assert max(sizes) <= 2 * CHUNK_BYTES
"""


@linux
def test_a_gibibyte_is_streamed(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert memory_growth(IMPORTS, STREAM, tmp_path) < 50 << 20


def test_small_files_share_a_chunk(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).write_text("x")
    assert len(list(tar_stream(tmp_path))) == 1


def test_size_beyond_the_octal_digits_of_the_format(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        try:
            file.truncate(9 << 30)
        except OSError:
            pytest.skip("this file system has no files of 9 GiB")
    first = next(tar_stream(tmp_path))
    assert tarfile.TarInfo.frombuf(first[:512], "utf-8", "strict").size == 9 << 30


def test_hard_link_replaces_a_vanished_first_name(tmp_path: Path, plant: Plant) -> None:
    # "0" fills a chunk, so that we get a turn before the walk goes on; the walk has listed the names by then.
    plant(tmp_path, ["a", "c", "d = a", "e = a"])
    (tmp_path / "0").write_bytes(b"x" * CHUNK_BYTES)
    chunks = tar_stream(tmp_path)
    first = next(chunks)
    (tmp_path / "c").unlink()
    members = read_back(iter([first, *chunks]))
    assert list(members) == ["0", "a", "d", "e"]
    assert members["d"].linkname == "a"


def test_file_that_vanishes_between_listing_and_opening_is_left_out(
    tmp_path: Path, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, ["a", "d = a", "e = a", "f"])
    module = importlib.import_module("stagelens.buildkit.context.tar")

    def listed_before(root: Path, exclude: Iterable[str]) -> Iterator[ContextEntry]:
        found = list(walk(root, exclude=exclude))
        (root / "a").unlink()
        (root / "f").unlink()
        return iter(found)

    monkeypatch.setattr(module, "walk", listed_before)
    members = read_back(tar_stream(tmp_path))
    assert list(members) == ["d", "e"]
    assert members["d"].isreg()
    assert members["d"].size == 1
    assert members["e"].linkname == "d"


def test_file_that_grows_during_the_read_is_cut_at_its_announced_size(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * (CHUNK_BYTES * 2))
    chunks = tar_stream(tmp_path)
    first = next(chunks)
    with (tmp_path / "f").open("ab") as file:
        file.write(b"more")
    assert read_back(iter([first, *chunks]))["f"].size == CHUNK_BYTES * 2


def test_file_that_shrinks_during_the_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * (CHUNK_BYTES * 3))
    chunks = tar_stream(tmp_path)
    next(chunks)
    os.truncate(tmp_path / "f", CHUNK_BYTES)
    with pytest.raises(ContextError, match="shrank") as raised:
        list(chunks)
    assert raised.value.where == "f"


def test_unreadable_file_is_an_error_with_its_name(
    tmp_path: Path, as_nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "f").chmod(0)
    with as_nobody(), pytest.raises(ContextError, match="cannot be read"):
        list(tar_stream(tmp_path))
