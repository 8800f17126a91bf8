"""The gateway on a real engine: graphs, and programs on the results of steps."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stagelens_testing.resources import PATIENCE, wait_until

from stagelens.buildkit import (
    BuildCancelled,
    BuildError,
    Cancel,
    Control,
    FileSync,
    FolderSource,
    MemorySource,
    Session,
)
from stagelens.buildkit.gateway import ContainerProcess, Gateway, GatewayContainer
from stagelens.buildkit.grpc import Call
from stagelens.buildkit.llb import image_definition
from stagelens.buildkit.proto.buildkit_pb2 import ExecMessage, StatusResponse
from stagelens.engine import Engine

pytestmark = pytest.mark.engine
IMAGE = "docker.io/diamol/base:latest"
ENV = {"PATH": "/bin:/usr/bin"}


@pytest.fixture(autouse=True)
def no_forced_close(set_timeouts: Callable[..., None]) -> None:
    """A build that does not end by itself hangs here."""
    set_timeouts(gateway_close=3600.0)


@contextmanager
def opened(
    engine: Engine,
    context: Path,
    text: str = "FROM scratch\n",
    cancel: Cancel | None = None,
    on_status: Callable[[StatusResponse], None] | None = None,
) -> Generator[Gateway]:
    sync = FileSync(
        {"context": FolderSource(context), "dockerfile": MemorySource({"Dockerfile": text.encode()})}
    )
    with (
        Session(engine.api, [sync]) as session,
        Gateway(engine.api, session.id, cancel=cancel, on_status=on_status) as gateway,
    ):
        yield gateway


def container(gateway: Gateway) -> GatewayContainer:
    return gateway.new_container(gateway.solve(image_definition(IMAGE)), {})


def wait_for_the_release(engine: Engine, word: str) -> None:
    """Wait until no record of a step with this word is in use."""
    with Control(engine.api) as control:
        ours = [f'description~="{word}"']
        wait_until(lambda: not any(record.in_use for record in control.disk_usage(ours)), "the release")


def test_program_sees_every_step_and_leaves_no_mount(engine: Engine, tmp_path: Path, unique: str) -> None:
    text = f"FROM diamol/base\nRUN echo {unique} > /one\nRUN rm /one; echo 2 > /two\n"
    names: list[str] = []

    def note(status: StatusResponse) -> None:
        names.extend(vertex.name for vertex in status.vertexes)

    with opened(engine, tmp_path, text, on_status=note) as gateway:
        graph = gateway.dockerfile_graph({"filename": "Dockerfile"})
        steps = [graph.root_output(digest) for digest, name in graph.named_ops() if "RUN" in name]
        mounts = {f"/p/{n}": gateway.solve(graph.definition_of(edge)) for n, edge in enumerate(steps)}
        box = gateway.new_container(gateway.solve(image_definition(IMAGE)), mounts)
        shell = box.start("sh", env=ENV)
        shell.write(b"cat /p/0/one; ls /p/1/one 2> /dev/null; cat /p/1/two\n")
        shell.write(b"touch /dev/shm/x /p/0/x; ls /dev/shm\n")
        assert [shell.read_line(100) for _ in range(3)] == [unique.encode(), b"2", b"x"]
        shell.write(b"exec sh -c 'echo end; cat'\n")
        assert shell.read(4) == b"end\n"
        shell.end()
        box.release()
    assert any("RUN rm" in name for name in names)
    wait_for_the_release(engine, unique)


def test_failed_build_leaves_the_gateway_usable(engine: Engine, tmp_path: Path) -> None:
    with opened(engine, tmp_path, "FROM diamol/base\nRUN exit 3\n") as gateway:
        graph = gateway.dockerfile_graph({"filename": "Dockerfile"})
        assert graph.result
        broken = gateway.solve(graph.definition_of(graph.result))
        with pytest.raises(BuildError, match="exit code: 3"):
            gateway.new_container(gateway.solve(image_definition(IMAGE)), {"/p": broken})
        with pytest.raises(BuildError, match="no-such-stage"):
            gateway.dockerfile_graph({"filename": "Dockerfile", "target": "no-such-stage"})
        shell = container(gateway).start("sh", env=ENV)
        shell.write(b"echo on\n")
        assert shell.read_line(100) == b"on"


def test_cancelled_gateway_leaves_no_program(engine: Engine, tmp_path: Path, unique: str) -> None:
    cancel = Cancel()
    mark = f"mark-{time.time_ns()}"

    def running() -> bool:
        return any(mark.encode() in _read(file) for file in Path("/proc").glob("[0-9]*/environ"))

    text = f"FROM diamol/base\nRUN echo {unique}\n"
    with pytest.raises(BuildCancelled):  # noqa: PT012, SIM117
        with opened(engine, tmp_path, text, cancel=cancel) as gateway:
            graph = gateway.dockerfile_graph({"filename": "Dockerfile"})
            assert graph.result
            box = gateway.new_container(
                gateway.solve(image_definition(IMAGE)),
                {"/p": gateway.solve(graph.definition_of(graph.result))},
            )
            shell = box.start("sh", env=ENV | {"MARK": mark})
            shell.write(b"echo on; sleep 2\n")
            assert shell.read_line(100) == b"on"
            wait_until(running, "the program")
            threading.Timer(0.1, cancel).start()
            shell.read(1)
    wait_until(lambda: not running(), "the program's end")
    wait_for_the_release(engine, unique)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_container_is_released_whenever_a_cancel_comes(
    engine: Engine, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    cancel, finish = Cancel(), Call.close_send

    def finished(call: Call) -> None:
        if call._path.endswith("/ReleaseContainer"):  # pyright: ignore[reportPrivateUsage]
            cancel()
        finish(call)

    if when == "meanwhile":
        monkeypatch.setattr(Call, "close_send", finished)
    text = f"FROM diamol/base\nRUN echo {unique}\n"
    with opened(engine, tmp_path, text, cancel=cancel) as gateway:
        graph = gateway.dockerfile_graph({"filename": "Dockerfile"})
        assert graph.result
        box = gateway.new_container(gateway.solve(graph.definition_of(graph.result)), {})
        if when == "before":
            cancel()
        box.release()
    wait_for_the_release(engine, unique)


@pytest.mark.parametrize("how", ["interrupt", "cancel"])
@pytest.mark.parametrize("seconds", [0, 0.02, 0.1])
def test_container_created_during_the_end_is_released(
    engine: Engine,
    tmp_path: Path,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
    set_timeouts: Callable[..., None],
    how: str,
    seconds: float,
) -> None:
    """Without the release, BuildKit before 0.10 retains the mounts until the engine restarts."""
    cancel, finish = Cancel(), Call.close_send

    def finished(call: Call) -> None:
        finish(call)
        if call._path.endswith("/NewContainer"):  # pyright: ignore[reportPrivateUsage]
            time.sleep(seconds)  # the engine is at it
            if how == "cancel":
                cancel()
            else:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Call, "close_send", finished)
    set_timeouts(gateway_create=PATIENCE)
    text = f"FROM diamol/base\nRUN echo {unique}\n"
    with pytest.raises((KeyboardInterrupt, BuildCancelled)):  # noqa: PT012, SIM117
        with opened(engine, tmp_path, text, cancel=cancel) as gateway:
            graph = gateway.dockerfile_graph({"filename": "Dockerfile"})
            assert graph.result
            gateway.new_container(gateway.solve(graph.definition_of(graph.result)), {}).start("true", env=ENV)
    time.sleep(0.5)  # by then it is made
    wait_for_the_release(engine, unique)


def test_program_started_during_an_interrupt_does_not_delay_the_end(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_timeouts: Callable[..., None]
) -> None:
    send = ContainerProcess._send  # pyright: ignore[reportPrivateUsage]

    def sent(program: ContainerProcess, message: ExecMessage) -> None:
        send(program, message)
        if message.WhichOneof("input") == "init":
            time.sleep(0.2)  # it runs
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ContainerProcess, "_send", sent)
    set_timeouts(gateway_close=PATIENCE)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), opened(engine, tmp_path) as gateway:
        container(gateway).start("cat", env=ENV)
    assert time.monotonic() - begun < PATIENCE


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
