"""A session on docker-py's Windows pipes: its own code, upon stand-ins for Windows' functions."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
from stagelens_testing import windows
from stagelens_testing.held import descriptors, nothing_new, threads

import stagelens
from stagelens.build import Backend, LogLine, Vertex
from stagelens.buildkit import BuildCancelled, Cancel, ConnectionLost, Session
from stagelens.engine import Engine

pytestmark = pytest.mark.engine


@pytest.fixture
def piped(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The running engine, by docker-py's adapter for pipes."""
    for name, module in windows.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("npipesocket", "npipeconn"):
        monkeypatch.delitem(sys.modules, f"docker.transport.{name}", raising=False)
    adapters = importlib.import_module("docker.transport.npipeconn")
    for name in ("npipesocket", "npipeconn"):
        monkeypatch.delitem(sys.modules, f"docker.transport.{name}")
    with closing(docker.APIClient("unix:///pipe", version=engine.info.api_version)) as api:
        adapter = adapters.NpipeHTTPAdapter(f"npipe://{engine.address.removeprefix('unix://')}")
        api.mount("http+docker://", adapter)
        yield Engine(api, "npipe:////./pipe/docker_engine", "a test", engine.info)


def test_a_build_gets_its_context_and_secrets(
    piped: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM diamol/base\nCOPY big /\nRUN --mount=type=secret,id=word grep -q secret /run/secrets/word\n"
    )
    (tmp_path / "big").write_bytes(unique.encode() * 200_000)
    trace = stagelens.build(tmp_path, tags=[unique], secrets={"word": b"secret"}, engine=piped)
    assert (trace.backend, trace.context_bytes) == ("session", 200_000 * len(unique))


@pytest.mark.parametrize("backend", ["session", "classic"])
def test_a_cancel_wakes_who_waits_for_the_build(
    piped: Engine, tmp_path: Path, unique: str, backend: Backend
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM diamol/base\nRUN echo {unique} && sleep 600\n")
    cancel = Cancel()

    def watch(vertex: Vertex, new: tuple[LogLine, ...]) -> None:
        if any(unique in line.text for line in new):
            threading.Thread(target=cancel, name="stagelens-test").start()

    with nothing_new(threads), pytest.raises(BuildCancelled):
        stagelens.build(tmp_path, engine=piped, on_vertex=watch, cancel=cancel, backend=backend)


def test_a_session_leaves_nothing_and_can_be_closed_twice(piped: Engine) -> None:
    with nothing_new(threads, descriptors):
        session = Session(piped.api)
        session.close()
        session.close()


def test_a_pipe_that_is_not_there_is_a_lost_connection(piped: Engine, tmp_path: Path) -> None:
    piped.api.get_adapter(piped.api.base_url).npipe_path = str(tmp_path / "none")  # pyright: ignore
    with pytest.raises(ConnectionLost, match="does not answer"):
        Session(piped.api)
