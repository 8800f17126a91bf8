"""Faults during a build: a cut connection, a cancel at any moment, files that change meanwhile.

Each ends in an error of ours, within a deadline, and leaves no thread and no descriptor.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest
from stagelens_testing.cutting_proxy import CuttingProxy
from stagelens_testing.resources import PATIENCE, descriptors, memory_growth, no_leaks, threads

from stagelens.buildkit import (
    BuildCancelled,
    BuildRequest,
    Cancel,
    Control,
    FileSend,
    FileSync,
    FolderSource,
    MemorySource,
    Session,
    Transfer,
    solve,
)
from stagelens.buildkit.context import ContextError
from stagelens.buildkit.grpc import Client
from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse
from stagelens.engine import Engine
from stagelens.engine_socket import EngineSocket
from stagelens.errors import StagelensError

pytestmark = pytest.mark.engine
TO_TAR = BuildRequest(outputs=({"Type": "tar", "Attrs": {}},))


@pytest.fixture
def nothing_left(engine: Engine) -> Iterator[None]:
    """No thread of ours, and no descriptor that was not there before; docker-py's own pool is emptied.

    What is left to the garbage collector counts as left.
    """

    def opened() -> set[tuple[str, str]]:
        engine.api.close()
        return descriptors()

    gc.disable()
    try:
        with no_leaks(threads, opened):
            yield
    finally:
        gc.enable()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("context")
    for number in range(60):
        (root / f"f{number}").write_bytes(os.urandom(3000))
    return root


def build(
    api: docker.APIClient | EngineSocket, context: Path, text: str, cancel: Cancel | None = None
) -> bytes:
    sink = io.BytesIO()
    files = FileSync(
        {"context": FolderSource(context), "dockerfile": MemorySource({"Dockerfile": text.encode()})}
    )
    # A key of its own: everything is sent.
    with Session(api, [files, FileSend(sink)], shared_key=os.urandom(8).hex()) as session:
        solve(api, TO_TAR, session=session.id, cancel=cancel)
    return sink.getvalue()


def copying() -> str:
    return f"FROM diamol/base AS a\nCOPY . /{os.urandom(4).hex()}\nFROM scratch\nCOPY --from=a /bin /\n"


POINTS = [0, 1, 100, 400, 700, 1100, 1500, 2000, 3000, 5000, 8000, 20_000, 60_000, 120_000, 180_000, 220_000]


@pytest.mark.parametrize("limit", POINTS[::3])
def test_socket_cut_anywhere_is_an_error_and_leaves_nothing(
    engine: Engine, context: Path, tmp_path: Path, nothing_left: None, limit: int
) -> None:
    cutter = CuttingProxy(tmp_path / "s", engine.address.removeprefix("unix://"), limit)
    api = EngineSocket(f"unix://{tmp_path / 's'}", engine.info.api_version)
    with closing(cutter), pytest.raises(StagelensError):
        build(api, context, copying())


@pytest.mark.parametrize("limit", POINTS)
def test_connection_cut_anywhere_is_an_error_and_leaves_nothing(
    engine: Engine, context: Path, tmp_path: Path, nothing_left: None, limit: int
) -> None:
    cutter = CuttingProxy(tmp_path / "s", engine.address.removeprefix("unix://"), limit)
    api = docker.APIClient(f"unix://{tmp_path / 's'}", version=engine.info.api_version)
    try:
        with pytest.raises(StagelensError):
            build(api, context, copying())
    finally:
        api.close()
        cutter.close()


def test_proxy_alone_breaks_nothing(
    engine: Engine, context: Path, tmp_path: Path, nothing_left: None
) -> None:
    cutter = CuttingProxy(tmp_path / "s", engine.address.removeprefix("unix://"), 1_000_000_000)
    api = docker.APIClient(f"unix://{tmp_path / 's'}", version=engine.info.api_version)
    try:
        assert build(api, context, copying())
    finally:
        api.close()
        cutter.close()


@pytest.mark.parametrize("delay", sorted(random.Random(4).uniform(0, 1.2) for _ in range(10)))
def test_cancel_at_any_moment_leaves_nothing(
    engine: Engine, context: Path, nothing_left: None, delay: float
) -> None:
    cancel = Cancel()
    timer = threading.Timer(delay, cancel)
    timer.start()
    # A step of its own: BuildKit may still be ending the one that the test before has cancelled.
    step = f"RUN sleep 600; : {os.urandom(4).hex()}\nCOPY ."
    with pytest.raises(BuildCancelled):
        build(engine.build_api, context, copying().replace("COPY .", step, 1), cancel)
    timer.join()


def test_cancelled_build_waits_for_its_last_event(
    engine: Engine, context: Path, monkeypatch: pytest.MonkeyPatch, set_timeouts: Callable[..., None]
) -> None:
    """The engine may tag the image just before its last event: a clean-up before that would miss it."""
    solving = importlib.import_module("stagelens.buildkit.image_build")  # `buildkit.solve` is its function
    stop, lines = solving.cancel_build, solving._lines
    words: list[Any] = []
    set_timeouts(build_cancel=PATIENCE)
    monkeypatch.setattr(solving, "cancel_build", lambda *given: threading.Timer(0.5, stop, given).start())
    monkeypatch.setattr(solving, "_lines", lambda response: map(_noted(words), lines(response)))
    cancel = Cancel()

    def give_up(status: StatusResponse) -> None:
        if any("sleep" in vertex.name and vertex.HasField("started") for vertex in status.vertexes):
            cancel()

    text = f"FROM diamol/base\nRUN sleep 60; : {os.urandom(4).hex()}\n"
    sync = FileSync(
        {"context": FolderSource(context), "dockerfile": MemorySource({"Dockerfile": text.encode()})}
    )
    with pytest.raises(BuildCancelled), Session(engine.api, [sync]) as session:
        solve(engine.api, BuildRequest(), session=session.id, on_status=give_up, cancel=cancel)
    assert "error" in words[-1]


def _noted(words: list[Any]) -> Callable[[Any], Any]:
    def note(word: Any) -> Any:
        words.append(word)
        return word

    return note


def test_cancel_before_the_build_starts_is_effective(
    engine: Engine, context: Path, nothing_left: None
) -> None:
    cancel = Cancel()
    cancel()
    with pytest.raises(BuildCancelled):
        build(engine.api, context, copying(), cancel)


def test_file_that_vanishes_after_its_announcement_is_named(
    engine: Engine, tmp_path: Path, nothing_left: None
) -> None:
    for number in range(50):
        (tmp_path / f"f{number:02}").write_bytes(os.urandom(500_000))

    def remove(transfer: Transfer) -> None:
        if transfer.name == "context":
            (tmp_path / "f49").unlink(missing_ok=True)

    text = f"FROM scratch\nCOPY . /{os.urandom(4).hex()}\n"
    trees = {"context": FolderSource(tmp_path), "dockerfile": MemorySource({"Dockerfile": text.encode()})}
    files = FileSync(trees, on_bytes=remove)
    session = Session(engine.api, [files], shared_key=os.urandom(8).hex())
    with session, pytest.raises(StagelensError):
        solve(engine.api, BuildRequest(), session=session.id)
    (error,) = session.errors
    assert isinstance(error, ContextError)
    assert "f49" in str(error)


SPARSE = """
import io, os
from pathlib import Path
from stagelens.buildkit import BuildRequest, FileSend, FileSync, FolderSource, MemorySource, Session
from stagelens.buildkit import shared_key, solve
from stagelens.engine import connect
api, folder = connect(sys.argv[1], start=False).api, Path(sys.argv[2])
text = "FROM diamol/base\\nRUN --mount=type=bind,target=/c " + f": {os.urandom(4).hex()}\\n"
files = FileSync({"context": FolderSource(folder), "dockerfile": MemorySource({"Dockerfile": text.encode()})})
request = BuildRequest(outputs=({"Type": "tar", "Attrs": {}},))
"""
SENT = """
with Session(api, [files, FileSend(io.BytesIO())], shared_key=shared_key(folder)) as session:
    solve(api, request, session=session.id)
    assert session.sent_bytes > 200_000_000
"""


def test_memory_is_flat_for_a_huge_sparse_file(engine: Engine, tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(200_000_000)
    assert memory_growth(SPARSE, SENT, engine.address, tmp_path) < 60_000_000


def test_engine_retains_no_session_and_no_mount(engine: Engine, context: Path, nothing_left: None) -> None:
    with Session(engine.api) as session:
        gone = session.id
    request = BuildRequest()
    with pytest.raises(StagelensError):
        solve(engine.api, request, session=gone)
    with Control(engine.api) as control:
        assert control.workers()


def test_cancel_after_a_lost_connection_is_silent() -> None:
    """Otherwise a cancel at the end of a build would raise ConnectionLost."""
    ours, theirs = socket.socketpair()
    with no_leaks(threads), ours, theirs:
        client = Client(ours)
        call = client.call("/any")
        ours.shutdown(socket.SHUT_WR)
        call.cancel()
        client.close()
