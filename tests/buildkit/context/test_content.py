"""Contents: only regular files of the context are read, also if it changes after the listing."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from stagelens_testing.resources import memory_growth, open_descriptors_in

from stagelens.buildkit.context import Contents, ContextError, FileVanished
from stagelens.buildkit.context.content import CHUNK_BYTES
from stagelens.buildkit.errors import unreadable_path_error

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def read_content(root: Path, path: bytes) -> Iterator[bytes]:
    with Contents(root) as contents:
        yield from contents.read_chunks(path)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES * 2 + 7])
def test_file_arrives_whole_in_bounded_chunks(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(content)
    chunks = list(read_content(tmp_path, b"d/f"))
    assert b"".join(chunks) == content
    assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)


def test_vanished_file_is_named_as_vanished(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    for path in (b"gone", b"gone/f", b"f/x"):
        with pytest.raises(FileVanished) as raised:
            list(read_content(tmp_path, path))
        assert raised.value.where == path.decode()
        assert raised.value.remedy


def test_file_replaced_by_a_symlink_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    context = tmp_path / "context"
    context.mkdir()
    (context / "f").symlink_to("../secret")
    (context / "g").symlink_to("/etc/passwd")
    for path in (b"f", b"g"):
        with pytest.raises(ContextError, match="is no longer a regular file"):
            list(read_content(context, path))


def test_folder_replaced_by_a_symlink_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("secret")
    context = tmp_path / "context"
    context.mkdir()
    (context / "d").symlink_to("../outside")
    with pytest.raises(FileVanished):
        list(read_content(context, b"d/f"))


@pytest.mark.parametrize(
    "path", [b"../outside", b"a/../../outside", b"..", b"/etc/passwd", b"", b"a//outside"]
)
def test_path_that_leads_out_is_rejected(tmp_path: Path, path: bytes) -> None:
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "context" / "a").mkdir(parents=True)
    with pytest.raises(ContextError):
        list(read_content(tmp_path / "context", path))


@linux
def test_pipe_that_replaces_a_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(ContextError, match="is no longer a regular file"):
        list(read_content(tmp_path, b"f"))


def test_folder_that_replaces_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(ContextError):
        list(read_content(tmp_path, b"f"))


@linux
def test_a_socket_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert list(read_content(tmp_path, b"s")) == []


def test_unreadable_file_is_named_with_a_remedy(
    tmp_path: Path, as_nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    (tmp_path / "f").write_text("x")
    (tmp_path / "f").chmod(0)
    with as_nobody(), pytest.raises(ContextError) as raised:
        list(read_content(tmp_path, b"f"))
    assert raised.value.where == "f"
    assert ".dockerignore" in str(raised.value.remedy)


def test_ignore_file_cannot_exclude_itself() -> None:
    refused = unreadable_path_error(b"app/.dockerignore", PermissionError(13, "Permission denied"))
    assert refused.remedy == "make it readable"


def test_file_that_grew_after_listing_arrives_whole(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    with Contents(tmp_path) as contents:
        (tmp_path / "f").write_text("old and new")
        assert b"".join(contents.read_chunks(b"f")) == b"old and new"


def test_data_appended_during_the_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * (CHUNK_BYTES + 1))
    total = 0
    for chunk in read_content(tmp_path, b"f"):
        total += len(chunk)
        with (tmp_path / "f").open("ab") as file:
            file.write(chunk)  # as fast as it is read: without a bound this never ends
    assert total == CHUNK_BYTES + 1


def test_file_that_shrinks_ends_at_its_new_end(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * (CHUNK_BYTES * 3))
    chunks = read_content(tmp_path, b"f")
    first = next(chunks)
    os.truncate(tmp_path / "f", CHUNK_BYTES + 5)
    assert len(first) + sum(map(len, chunks)) == CHUNK_BYTES + 5


@linux
def test_large_sparse_file_takes_the_memory_of_a_chunk(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 28)
    before = "from pathlib import Path; from stagelens.buildkit.context import Contents"
    code = "assert sum(map(len, Contents(Path(sys.argv[1])).read_chunks(b'sparse'))) == 1 << 28"
    assert memory_growth(before, code, tmp_path) < 16 << 20


@linux
def test_many_folders_and_threads_use_few_descriptors(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}" / "f").write_text(str(number))
    most = 0
    lock = threading.Lock()
    with Contents(tmp_path) as contents, ThreadPoolExecutor(8) as pool:

        def read(number: int) -> bool:
            nonlocal most
            right = b"".join(contents.read_chunks(b"d%d/f" % number)) == str(number).encode()
            with lock:
                most = max(most, len(open_descriptors_in(tmp_path)))
            return right

        assert all(pool.map(read, [number % 100 for number in range(800)]))
    assert 0 < most < 60
    assert open_descriptors_in(tmp_path) == []
