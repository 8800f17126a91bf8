"""The session on a real engine, and gRPC's wire format on a socket pair."""

from __future__ import annotations

import gc
import io
import socket
import tarfile
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import cast

import docker
import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
from stagelens_testing.resources import PATIENCE, no_leaks, open_descriptors_in, threads, wait_until

from stagelens.buildkit import (
    Auth,
    BuildRequest,
    ConnectionLost,
    FileSend,
    FileSync,
    FolderSource,
    MemorySource,
    RpcError,
    Secrets,
    Session,
    StreamReset,
    shared_key,
    solve,
)
from stagelens.buildkit.context import ContextError
from stagelens.buildkit.context.walker import ContextEntry
from stagelens.buildkit.grpc import Call, Client, RpcStream, Server
from stagelens.buildkit.proto import generate
from stagelens.buildkit.proto.buildkit_pb2 import BytesMessage
from stagelens.engine import Engine


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    with no_leaks(threads):
        yield


def echo(stream: RpcStream) -> None:
    for message in stream.receive():
        stream.send(message)


def test_messages_of_any_size_return_and_no_thread_remains() -> None:
    ours, theirs = socket.socketpair()
    server, client = Server(ours, {"/echo": echo}), Client(theirs)
    for size in (0, 1, 16_384, 70_000, 9_000_000):
        sent = BytesMessage(data=bytes(size))
        assert client.unary("/echo", sent, BytesMessage) == sent
    client.close()
    server.close()


def test_an_unknown_method_is_unimplemented_and_an_error_has_its_code() -> None:
    def refuse(_: RpcStream) -> None:
        raise RpcError(5, "no such thing: 100 %\n")

    ours, theirs = socket.socketpair()
    server, client = Server(ours, {"/refuse": refuse}), Client(theirs)
    with pytest.raises(RpcError) as caught:
        client.unary("/nothing", BytesMessage(), BytesMessage)
    assert caught.value.code == 12
    with pytest.raises(RpcError) as caught:
        client.unary("/refuse", BytesMessage(), BytesMessage)
    assert (caught.value.code, caught.value.message) == (5, "no such thing: 100 %\n")
    client.close()
    server.close()


def test_a_cut_connection_ends_every_call() -> None:
    cut = threading.Event()

    def wait(stream: RpcStream) -> None:
        list(stream.receive())
        cut.set()
        theirs.shutdown(socket.SHUT_RDWR)
        stream.send(b"")

    ours, theirs = socket.socketpair()
    server, client = Server(ours, {"/wait": wait}), Client(theirs)
    with pytest.raises((ConnectionLost, StreamReset)):
        client.unary("/wait", BytesMessage(), BytesMessage)
    assert cut.is_set()
    client.close()
    server.close()


def test_cut_transfer_closes_its_folders(tmp_path: Path) -> None:
    for number in range(5000):  # more names than a connection takes that nobody reads
        (tmp_path / f"{number:0200}").touch()
    ours, theirs = socket.socketpair()
    server, client = Server(ours, FileSync({"context": FolderSource(tmp_path)}).methods()), Client(theirs)
    client.call("/moby.filesync.v1.FileSync/DiffCopy", [("dir-name", "context")])
    wait_until(lambda: open_descriptors_in(tmp_path), "the walk")
    gc.disable()
    try:
        client.close()
        server.close()
        assert open_descriptors_in(tmp_path) == []
    finally:
        gc.enable()


def test_garbage_ends_the_connection_with_an_error() -> None:
    ours, theirs = socket.socketpair()
    server = Server(ours, {"/echo": echo})
    theirs.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
    while theirs.recv(65536):
        pass
    theirs.close()
    server.close()


def test_answer_before_the_end_of_the_request_is_received() -> None:
    """Reject a call like grpc-go: the status, then a reset without an error."""
    ours, theirs = socket.socketpair()
    client = Client(theirs)
    call = client.call("/x")
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    peer.initiate_connection()
    while not any(isinstance(e, h2.events.RequestReceived) for e in peer.receive_data(ours.recv(65536))):
        pass
    status = [(":status", "200"), ("grpc-status", "9"), ("grpc-message", "not now")]
    peer.send_headers(1, status, end_stream=True)
    peer.reset_stream(1, h2.errors.ErrorCodes.NO_ERROR)
    ours.sendall(peer.data_to_send())
    call._stream.wait_headers()  # pyright: ignore[reportPrivateUsage]
    call.send_request(BytesMessage(data=b"late"))
    assert list(call.receive()) == []
    with pytest.raises(RpcError, match="not now"):
        call.check_status()
    client.close()
    ours.close()


def test_goaway_ends_a_transfer() -> None:
    ours, theirs = socket.socketpair()
    client = Client(theirs)
    call = client.call("/x")
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    peer.initiate_connection()
    while not any(isinstance(e, h2.events.RequestReceived) for e in peer.receive_data(ours.recv(65536))):
        pass
    peer.close_connection()
    ours.sendall(peer.data_to_send())
    with pytest.raises(ConnectionLost, match="closed the connection"):
        list(call.receive())
    with pytest.raises(ConnectionLost, match="closed the connection"):
        call.send(b"late")
    client.close()
    ours.close()


def test_own_error_is_raised_after_the_engine_has_gone() -> None:
    """An engine ends the build and its connection as soon as it receives an error."""
    heard = threading.Event()

    class Gone:
        def __init__(self) -> None:
            self.metadata = {"dir-name": ["context"]}

        def send(self, message: bytes, flush: bool = True) -> None:
            heard.set()

        def receive(self) -> Iterator[bytes]:
            assert heard.wait(PATIENCE)
            raise ConnectionLost("gone")

    class Unreadable(MemorySource):
        def entries(self, patterns: object) -> Generator[ContextEntry]:
            raise ContextError("A path of the build context cannot be read.", where="secret")
            yield

    (serve,) = FileSync({"context": Unreadable({})}).methods().values()
    with pytest.raises(ContextError, match="secret"):
        serve(cast("RpcStream", Gone()))


def test_close_ends_senders_with_a_lost_connection() -> None:
    found: list[BaseException] = []

    def send(call: Call) -> None:
        try:
            while True:
                call.send(bytes(100))
        except BaseException as error:
            found.append(error)

    for _ in range(20):
        ours, theirs = socket.socketpair()
        server, client = Server(ours, {"/x": lambda stream: list(stream.receive())}), Client(theirs)
        senders = [threading.Thread(target=send, args=(client.call("/x"),)) for _ in range(4)]
        for thread in senders:
            thread.start()
        client.close()
        for thread in senders:
            thread.join()
        server.close()
    assert {type(error) for error in found} == {ConnectionLost}


def test_answer_cut_in_its_header_is_not_a_success(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encod")

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            closing(docker.APIClient(f"unix://{tmp_path}/s", version="1.41")) as api,
            pytest.raises(ConnectionLost),
        ):
            solve(api, BuildRequest())
        thread.join()


def test_generated_messages_match_the_proto_file(tmp_path: Path) -> None:
    generate.generate(tmp_path)
    for name in ("buildkit_pb2.py", "buildkit_pb2.pyi"):
        assert (tmp_path / name).read_text() == (generate.HERE / name).read_text()


def test_secrets_have_no_representation_that_shows_them() -> None:
    assert "hunter2" not in repr(Secrets({"pw": b"hunter2"}))


def project(folder: Path, dockerfile: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    return folder


def export(engine: Engine, context: Path) -> dict[str, bytes]:
    """Build, and return the files of the tar by name."""
    sink = io.BytesIO()
    files = FileSync({"context": FolderSource(context), "dockerfile": FolderSource(context)})
    services = [files, Auth(engine.api), FileSend(sink)]
    with Session(engine.api, services, shared_key=shared_key(context)) as session:
        solve(engine.api, BuildRequest(outputs=({"Type": "tar", "Attrs": {}},)), session=session.id)
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        members = [(m.name, archive.extractfile(m)) for m in archive if m.isreg()]
        return {name: content.read() for name, content in members if content}


@pytest.mark.engine
def test_tar_result_equals_the_context(engine: Engine, tmp_path: Path) -> None:
    context = project(tmp_path / "c", "FROM scratch\nCOPY . /\n")
    (context / "big").write_bytes(bytes(range(256)) * 20_000)
    (context / "sub").mkdir()
    (context / "sub/x").write_text("x")
    assert export(engine, context) == {
        "Dockerfile": b"FROM scratch\nCOPY . /\n",
        "big": bytes(range(256)) * 20_000,
        "sub/x": b"x",
    }
    (context / "sub/x").write_text("changed")
    (context / "big").unlink()
    assert export(engine, context) == {"Dockerfile": b"FROM scratch\nCOPY . /\n", "sub/x": b"changed"}


@pytest.mark.engine
def test_eight_builds_at_once_on_one_engine(engine: Engine, tmp_path: Path, unique: str) -> None:
    contexts = []
    for number in range(8):
        context = project(tmp_path / str(number), "FROM scratch\nCOPY own /own\n")
        (context / "own").write_text(f"{unique} {number}")
        contexts.append(context)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda context: export(engine, context), contexts))
    assert results == [{"own": f"{unique} {number}".encode()} for number in range(8)]
