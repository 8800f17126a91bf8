"""Results of a build: an untrusted tree becomes a folder, and nothing outside changes."""

from __future__ import annotations

import os
import socket
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from stagelens.buildkit import (
    BuildRequest,
    FileSync,
    FolderSource,
    LocalFolder,
    MemorySource,
    Output,
    ResultError,
    RpcError,
    Session,
    StreamReset,
    TarFile,
    shared_key,
    solve,
)
from stagelens.buildkit.grpc import Client, Server
from stagelens.buildkit.proto.buildkit_pb2 import BytesMessage, Packet, Stat
from stagelens.engine import Engine

SEND = "/moby.filesync.v1.FileSend/DiffCopy"
DIRECTORY, SYMLINK, DEVICE, PIPE, SETUID = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 23


def entry(path: str | bytes, mode: int = 0o644, data: bytes = b"", **fields: object) -> tuple[Stat, bytes]:
    name = path if isinstance(path, bytes) else path.encode()
    given = {"size": len(data), "mod_time": 1_234_567_890_000_000_001} | fields
    return Stat(path=name, mode=mode, **given), data  # pyright: ignore[reportArgumentType]


def folder(path: str, mode: int = 0o755) -> tuple[Stat, bytes]:
    return entry(path, DIRECTORY | mode)


def deliver(output: Output, entries: Iterable[tuple[Stat, bytes]]) -> list[BaseException]:
    """Send a tree like fsutil's sender, and return the receiver's error."""
    ours, theirs = socket.socketpair()
    server, client = Server(ours, dict(output.methods())), Client(theirs)
    contents: list[bytes] = []
    try:
        call = client.call(SEND)
        for status, data in entries:
            contents.append(data)
            call.send(Packet(type=Packet.STAT, stat=status).SerializeToString(), flush=False)
        call.send(Packet(type=Packet.STAT).SerializeToString())
        for message in call.receive():
            packet = Packet.FromString(message)
            if packet.type == Packet.FIN:
                call.send(Packet(type=Packet.FIN).SerializeToString())
                continue
            assert packet.type == Packet.REQ
            data = contents[packet.id]
            for start in range(0, len(data), 30_000):
                piece = Packet(type=Packet.DATA, id=packet.id, data=data[start : start + 30_000])
                call.send(piece.SerializeToString(), flush=False)
            call.send(Packet(type=Packet.DATA, id=packet.id).SerializeToString(), flush=False)
        call.check_status()
    except (RpcError, StreamReset):
        pass
    finally:
        client.close()
        server.close()
    return server.errors


def test_tree_arrives_unchanged(tmp_path: Path) -> None:
    target = tmp_path / "new" / "place"
    output = LocalFolder(target)
    big = os.urandom(300_000)
    sent = [
        folder("d", 0o500),
        entry("d/big", 0o640, big),
        entry("d/empty"),
        entry("d/further", 0o640, size=len(big), linkname=b"d/big"),
        entry("link", SYMLINK | 0o777, linkname=b"/etc/passwd"),
        entry(b"not\xffutf8\n", 0o755, b"x"),
        entry("tool", SETUID | 0o4755, b"#!"),
    ]
    assert deliver(output, sent) == []
    assert (target / "d/big").read_bytes() == big
    assert (target / "d/further").samefile(target / "d/big")
    assert (target / "d/empty").read_bytes() == b""
    assert os.readlink(target / "link") == "/etc/passwd"  # noqa: PTH115
    assert (target / os.fsdecode(b"not\xffutf8\n")).read_text() == "x"
    modes = {name: stat.S_IMODE((target / name).lstat().st_mode) for name in ("d", "d/big", "tool")}
    assert modes == {"d": 0o500, "d/big": 0o640, "tool": 0o755}, "set-user-id would be ours"
    for name in ("d", "d/big", "link"):
        assert (target / name).lstat().st_mtime_ns == 1_234_567_890_000_000_001
    assert (output.received.paths, output.received.content_bytes) == (7, 300_003)
    (target / "d").chmod(0o700)


def test_more_files_arrive_than_are_requested_at_once(tmp_path: Path) -> None:
    output = LocalFolder(tmp_path)
    assert deliver(output, [entry(f"{n:04}", data=b"%d" % n) for n in range(1000)]) == []
    assert {int(path.name): path.read_text() for path in tmp_path.iterdir()} == {
        n: str(n) for n in range(1000)
    }


def test_existing_files_remain_and_same_names_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/mine").write_text("mine")
    (tmp_path / "d/old").write_text("old")
    (tmp_path / "was-a-file").write_text("")
    outside = tmp_path.parent / "outside"
    outside.write_text("outside")
    (tmp_path / "d/through").symlink_to(outside)
    sent = [
        folder("d"),
        entry("d/old", data=b"new"),
        entry("d/through", data=b"here"),
        folder("was-a-file"),
        entry("was-a-file/x"),
    ]
    assert deliver(LocalFolder(tmp_path), sent) == []
    found = {p.name: p.read_text() for p in (tmp_path / "d").iterdir()}
    assert found == {"mine": "mine", "old": "new", "through": "here"}
    assert not (tmp_path / "d/through").is_symlink()
    assert outside.read_text() == "outside"


@pytest.mark.parametrize(
    "hostile",
    [
        [entry("../outside", data=b"bad")],
        [entry("/abs", data=b"bad")],
        [entry("..", DIRECTORY | 0o755)],
        [entry("a/../../outside", data=b"bad")],
        [entry("", data=b"bad")],
        [entry("a\0b", data=b"bad")],
        [entry("door", SYMLINK | 0o777, linkname=b"../secret"), entry("door/outside", data=b"bad")],
        [entry("there/outside", data=b"bad")],
        [entry("hard", linkname=b"../secret/file")],
        [entry("hard", linkname=b"there/file")],
        [entry("door", SYMLINK | 0o777, linkname=b"../secret/file"), entry("hard", linkname=b"door")],
        [folder("there"), entry("there/door", SYMLINK, linkname=b"../../secret"), folder("there/door/x")],
        [entry("nowhere/file", data=b"bad")],
    ],
    ids=lambda entries: " ".join(repr(status.path) for status, _ in entries),
)
def test_nothing_outside_the_target_is_touched(tmp_path: Path, hostile: list[tuple[Stat, bytes]]) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    target = tmp_path / "target"
    target.mkdir()
    (target / "there").symlink_to(secret)
    (failed,) = deliver(LocalFolder(target), hostile) or [None]
    if failed is not None:
        assert isinstance(failed, ResultError)
    else:
        assert not (target / "there").is_symlink(), "the folder took the link's place"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["secret", "target"]
    assert [(p.name, p.read_text(), p.stat().st_nlink) for p in secret.iterdir()] == [("file", "secret", 1)]
    assert not [p for p in target.iterdir() if p.name.startswith(".stagelens")]


def test_devices_and_pipes_are_left_out_and_counted(tmp_path: Path) -> None:
    output = LocalFolder(tmp_path)
    assert deliver(output, [entry("dev", DEVICE | 0o600, devmajor=1, devminor=3), entry("pipe", PIPE)]) == []
    assert not list(tmp_path.iterdir())
    assert output.received.skipped == 2


def test_limit_is_checked_before_a_byte_is_written(tmp_path: Path) -> None:
    sent = [entry("a", data=b"1234"), entry("b", data=b"56789")]
    (failed,) = deliver(LocalFolder(tmp_path, limit=8), sent)
    assert isinstance(failed, ResultError)
    assert "8 bytes" in str(failed)
    assert not (tmp_path / "b").exists()


def test_file_of_an_unannounced_length_is_rejected(tmp_path: Path) -> None:
    for size in (3, 5):
        (failed,) = deliver(LocalFolder(tmp_path), [entry("a", data=b"1234", size=size)])
        assert isinstance(failed, ResultError)
        assert not list(tmp_path.iterdir())


def test_file_never_replaces_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/mine").write_text("mine")
    (failed,) = deliver(LocalFolder(tmp_path), [entry("a", data=b"x")])
    assert isinstance(failed, ResultError)
    assert str(tmp_path / "a") in str(failed)
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "mine"]


def tar_of(output: TarFile, pieces: list[bytes]) -> list[BaseException]:
    ours, theirs = socket.socketpair()
    server, client = Server(ours, dict(output.methods())), Client(theirs)
    call = client.call(SEND)
    for piece in pieces:
        call.send(BytesMessage(data=piece).SerializeToString())
    call.close_send()
    assert list(call.receive()) == []
    client.close()
    server.close()
    return server.errors


def test_tar_appears_only_when_complete(tmp_path: Path) -> None:
    place = tmp_path / "x.tar"
    place.write_text("before")
    assert tar_of(TarFile(place), [b"abc", b"def"]) == []
    assert place.read_text() == "abcdef"
    tar_of(TarFile(place, limit=4), [b"123", b"456"])
    assert place.read_text() == "abcdef"
    (failed,) = tar_of(TarFile(tmp_path / "no" / "x.tar"), [b""])
    assert isinstance(failed, ResultError)
    assert [p.name for p in tmp_path.iterdir()] == ["x.tar"]


@pytest.mark.engine
def test_folder_and_tar_have_the_same_files(engine: Engine, tmp_path: Path, unique: str) -> None:
    text = (
        f"FROM diamol/base AS work\nRUN mkdir -p /o/d && echo {unique} > /o/d/a && ln /o/d/a /o/b"
        " && ln -s d/a /o/l && for i in $(seq 200); do echo $i > /o/d/f$i; done; chmod 500 /o/d\n"
        "FROM scratch\nCOPY --from=work /o /\n"
    )
    context = tmp_path / "c"
    context.mkdir()
    files = FileSync(
        {"context": FolderSource(context), "dockerfile": MemorySource({"Dockerfile": text.encode()})}
    )
    outputs: list[Output] = [LocalFolder(tmp_path / "out"), TarFile(tmp_path / "out.tar")]
    for output in outputs:
        with Session(engine.api, [files, output], shared_key=shared_key(context)) as session:
            request = BuildRequest(outputs=({"Type": output.exporter, "Attrs": {}},))
            assert solve(engine.api, request, session=session.id) is None
            assert session.errors == []
    out = tmp_path / "out"
    found = {str(p.relative_to(out)): p for p in out.rglob("*")}
    with tarfile.open(tmp_path / "out.tar") as archive:
        members = {member.name.rstrip("/"): member for member in archive}
        assert set(members) - {""} == set(found)
        for name, path in found.items():
            member = members[name]
            if path.is_symlink():
                assert (member.linkname, str(path.readlink())) == ("d/a", "d/a")
                continue
            assert stat.S_IMODE(path.stat().st_mode) == member.mode, name
            if path.is_file():
                content = archive.extractfile(member)
                assert content is not None
                assert content.read() == path.read_bytes()
    assert (out / "b").read_text() == f"{unique}\n"
    (out / "d").chmod(0o700)
