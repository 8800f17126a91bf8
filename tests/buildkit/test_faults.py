"""What goes wrong on the way: a cut connection, a cancel at any moment, files that change meanwhile.

Each ends in an error of ours, within a deadline, and leaves no thread and no descriptor.
"""

from __future__ import annotations

import io
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from stagelens_testing.cutter import Cutter

from stagelens.buildkit import (
    BuildCancelled,
    BuildRequest,
    Cancel,
    Control,
    FileSend,
    FileSync,
    Session,
    Source,
    Texts,
    Transfer,
    shared_key,
    solve,
)
from stagelens.buildkit.context import ContextError
from stagelens.engine import Engine
from stagelens.errors import StagelensError

pytestmark = pytest.mark.engine
DEADLINE = 60.0
TO_TAR = BuildRequest(outputs=({"Type": "tar", "Attrs": {}},))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def ours() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("stagelens")}


@pytest.fixture
def nothing_left(engine: Engine) -> Iterator[None]:
    """No thread of ours, and no more descriptors than before; docker-py's own pool is emptied for that."""
    engine.api.close()
    before = descriptors()
    yield
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        engine.api.close()
        if not ours() and descriptors() <= before:
            return
        time.sleep(0.05)
    assert ours() == set()
    assert descriptors() <= before


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("context")
    for number in range(60):
        (root / f"f{number}").write_bytes(os.urandom(3000))
    return root


def build(api: docker.APIClient, context: Path, text: str, cancel: Cancel | None = None) -> bytes:
    sink = io.BytesIO()
    files = FileSync({"context": Source(context), "dockerfile": Texts({"Dockerfile": text.encode()})})
    # A key of its own: everything is sent.
    with Session(api, [files, FileSend(sink)], shared_key=os.urandom(8).hex()) as session:
        solve(api, TO_TAR, session=session.id, cancel=cancel)
    return sink.getvalue()


def copying() -> str:
    return f"FROM diamol/base AS a\nCOPY . /{os.urandom(4).hex()}\nFROM scratch\nCOPY --from=a /bin /\n"


POINTS = [0, 1, 100, 400, 700, 1100, 1500, 2000, 3000, 5000, 8000, 20_000, 60_000, 120_000, 180_000, 220_000]


@pytest.mark.parametrize("limit", POINTS)
def test_a_connection_cut_anywhere_is_our_error_and_leaves_nothing(
    engine: Engine, context: Path, tmp_path: Path, nothing_left: None, limit: int
) -> None:
    cutter = Cutter(tmp_path / "s", engine.address.removeprefix("unix://"), limit)
    api = docker.APIClient(f"unix://{tmp_path / 's'}", version=engine.info.api_version)
    begun = time.monotonic()
    try:
        with pytest.raises(StagelensError):
            build(api, context, copying())
        assert time.monotonic() - begun < DEADLINE
    finally:
        api.close()
        cutter.close()


def test_the_proxy_alone_breaks_nothing(
    engine: Engine, context: Path, tmp_path: Path, nothing_left: None
) -> None:
    cutter = Cutter(tmp_path / "s", engine.address.removeprefix("unix://"), 1_000_000_000)
    api = docker.APIClient(f"unix://{tmp_path / 's'}", version=engine.info.api_version)
    try:
        assert build(api, context, copying())
    finally:
        api.close()
        cutter.close()


@pytest.mark.parametrize("delay", sorted(random.Random(4).uniform(0, 1.2) for _ in range(10)))
def test_a_cancel_at_any_moment_is_a_cancel_and_leaves_nothing(
    engine: Engine, context: Path, nothing_left: None, delay: float
) -> None:
    cancel = Cancel()
    timer = threading.Timer(delay, cancel)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(BuildCancelled):
        build(
            engine.api,
            context,
            f"{copying()}RUN sleep 30\n".replace("COPY .", "RUN sleep 30\nCOPY ."),
            cancel,
        )
    timer.join()
    assert time.monotonic() - begun < 25, "it ended before the step did"


def test_a_cancel_before_the_build_begins_holds(engine: Engine, context: Path, nothing_left: None) -> None:
    cancel = Cancel()
    cancel()
    with pytest.raises(BuildCancelled):
        build(engine.api, context, copying(), cancel)


def test_a_file_that_vanishes_after_its_announcement_is_named(
    engine: Engine, tmp_path: Path, nothing_left: None
) -> None:
    for number in range(50):
        (tmp_path / f"f{number:02}").write_bytes(os.urandom(500_000))

    def remove(transfer: Transfer) -> None:
        if transfer.name == "context":
            (tmp_path / "f49").unlink(missing_ok=True)

    text = f"FROM scratch\nCOPY . /{os.urandom(4).hex()}\n"
    trees = {"context": Source(tmp_path), "dockerfile": Texts({"Dockerfile": text.encode()})}
    files = FileSync(trees, on_bytes=remove)
    session = Session(engine.api, [files], shared_key=os.urandom(8).hex())
    with session, pytest.raises(StagelensError):
        solve(engine.api, BuildRequest(), session=session.id)
    (error,) = session.errors
    assert isinstance(error, ContextError)
    assert "f49" in str(error)


def test_memory_is_flat_for_a_huge_sparse_file(engine: Engine, tmp_path: Path, nothing_left: None) -> None:
    import resource

    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(400_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = "FROM diamol/base\nRUN --mount=type=bind,target=/c " + f": {os.urandom(4).hex()}\n"
    files = FileSync({"context": Source(tmp_path), "dockerfile": Texts({"Dockerfile": text.encode()})})
    with Session(engine.api, [files, FileSend(io.BytesIO())], shared_key=shared_key(tmp_path)) as session:
        solve(engine.api, TO_TAR, session=session.id)
        assert session.sent_bytes > 400_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000, "in kB"


def test_the_engine_keeps_no_session_and_nothing_in_use(
    engine: Engine, context: Path, nothing_left: None
) -> None:
    with Session(engine.api) as session:
        gone = session.id
    request = BuildRequest()
    with pytest.raises(StagelensError):
        solve(engine.api, request, session=gone)
    with Control(engine.api) as control:
        assert control.workers()
