"""What builds leave in the engine and in our process: nothing, however they end."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import docker
import psutil
import pytest
from stagelens_testing import engines
from stagelens_testing.cutting_proxy import CuttingProxy
from stagelens_testing.resources import (
    children,
    descriptors,
    engine_is_exclusive,
    no_leaks,
    threads,
    wait_until,
)

from stagelens.buildkit import (
    BuildRequest,
    Cancel,
    Control,
    FileSend,
    FileSync,
    FolderSource,
    MemorySource,
    RpcError,
    Session,
    solve,
)
from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse
from stagelens.engine import Engine
from stagelens.errors import StagelensError

pytestmark = pytest.mark.engine
DEADLINE = 120.0
TO_TAR = BuildRequest(outputs=({"Type": "tar", "Attrs": {}},))


def connections(engine: Engine) -> set[str]:
    """The connections that the engine holds: it keeps a session as long as its connection, no longer."""
    place = engine.address.removeprefix("unix://")
    sockets = Path(f"/proc/{engines.namespace_pid(engine) or 'self'}/net/unix").read_text().splitlines()
    rows = [row.split() for row in sockets[1:] if row.endswith(f" {place}")]
    return {row[6] for row in rows if row[5] == "03"}


@pytest.fixture
def nothing_left(engine: Engine) -> Iterator[None]:
    """No thread, socket, process of ours and no connection of the engine that was not there before.

    docker-py's own pool is emptied for that. On an engine that others use, too, theirs are not counted.
    """
    further = engines.namespace_pid(engine) is not None

    def held() -> set[object]:
        engine.api.close()
        alone = further or engine_is_exclusive()
        return {*threads(), *descriptors(), *children(), *(connections(engine) if alone else ())}

    with no_leaks(held):
        yield


def build(api: docker.APIClient, context: Path, name: str, stop: Callable[[], None], at: str) -> None:
    """A build that calls `stop` while its context is sent or while its step runs."""
    seconds = 600 if at == "step" else 0
    text = f"FROM diamol/base\nCOPY . /{name}\nRUN echo {name}; sleep {seconds}\n"
    stopped = threading.Event()

    def reached(moment: str) -> None:
        if at == moment:
            stopped.set()
            stop()

    def on_status(status: StatusResponse) -> None:
        if any(name.encode() in log.msg for log in status.logs):
            reached("step")

    trees = {"context": FolderSource(context), "dockerfile": MemorySource({"Dockerfile": text.encode()})}
    files = FileSync(trees, on_bytes=lambda _: reached("transfer"))
    cancel = stop if isinstance(stop, Cancel) else None
    ends = nullcontext() if at == "never" else pytest.raises(StagelensError)
    with Session(api, [files, FileSend(io.BytesIO())], shared_key=name) as session, ends:
        solve(api, TO_TAR, session=session.id, on_status=on_status, cancel=cancel)
    assert stopped.is_set() == (at != "never")


def in_use(control: Control) -> set[str]:
    """Ids of the cache records that a build holds."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return {record.id for record in control.disk_usage() if record.in_use}
        except RpcError:  # a record went while the engine was measuring it
            assert time.monotonic() < deadline


def at_rest(control: Control, pending: set[str]) -> None:
    """Wait until each record has been seen at rest once: other builds may run on this engine."""
    deadline = time.monotonic() + DEADLINE
    while pending:
        assert time.monotonic() < deadline, f"still in use: {pending}"
        time.sleep(0.2)
        pending &= in_use(control)


def test_builds_cancels_and_lost_connections_leave_nothing(
    engine: Engine, tmp_path: Path, unique: str, nothing_left: None
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for number in range(20):
        (context / f"f{number}").write_bytes(os.urandom(200_000))
    with Control(engine.api) as control:
        before = in_use(control)
        build(engine.api, context, f"{unique}-whole", lambda: None, "never")
        for at in ("transfer", "step"):
            build(engine.api, context, f"{unique}-{at}", Cancel(), at)
            cut(engine, context, tmp_path / f"s-{at}", f"{unique}-cut-{at}", at)
        at_rest(control, in_use(control) - before)


KILLED = """
import sys
from pathlib import Path
from stagelens.buildkit import BuildRequest, FileSync, FolderSource, MemorySource, Session, solve
from stagelens.engine import connect

address, context, name = sys.argv[1:]
text = f"FROM diamol/base\\nCOPY . /{name}\\nRUN echo {name}; sleep 600\\n"
trees = {"context": FolderSource(Path(context)), "dockerfile": MemorySource({"Dockerfile": text.encode()})}
files = FileSync(trees, on_bytes=lambda _: print("transfer", flush=True))
api = connect(address, start=False).api
with Session(api, [files], shared_key=name) as session:
    solve(
        api,
        BuildRequest(),
        session=session.id,
        on_status=lambda status: [print("step", flush=True) for log in status.logs],
    )
"""


@pytest.mark.parametrize("at", ["transfer", "step"])
def test_killed_program_leaves_nothing_in_use(engine: Engine, tmp_path: Path, unique: str, at: str) -> None:
    """SIGKILL: nobody is left to tell the engine, which sees the connections end."""
    for number in range(20):
        (tmp_path / f"f{number}").write_bytes(os.urandom(200_000))
    with Control(engine.api) as control:
        before = in_use(control)
        line = [sys.executable, "-c", KILLED, engine.address, str(tmp_path), unique]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert any(said.strip() == at for said in process.stdout)
            held = in_use(control) - before
            process.kill()
        assert held
        at_rest(control, held | (in_use(control) - before))


def cut(engine: Engine, context: Path, place: Path, name: str, at: str) -> None:
    cutter = CuttingProxy(place, engine.address.removeprefix("unix://"))
    api = docker.APIClient(f"unix://{place}", version=engine.info.api_version)
    try:
        build(api, context, name, cutter.cut, at)
    finally:
        api.close()
        cutter.close()


@pytest.mark.parametrize("engine", engines.KINDS[1:], indirect=True)
def test_engine_of_the_tests_has_separate_temporary_files(engine: Engine) -> None:
    pid = engines.namespace_pid(engine)
    assert pid is not None
    (containerd,) = (each for each in psutil.Process(pid).children() if each.name() == "containerd")
    containerd.send_signal(signal.SIGUSR1)
    own = Path(engine.address.removeprefix("unix://")).parent / "tmp"
    wait_until(lambda: list(own.glob("containerd.*.stacks.log")), "a file with containerd's stacks")
