"""A session on docker-py's Windows pipes: docker-py's code, on replacements of Windows' functions."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
from stagelens_testing import windows
from stagelens_testing.connections import check_cancel, check_context_and_secrets
from stagelens_testing.resources import descriptors, no_leaks, threads

from stagelens.buildkit import ConnectionLost, Session
from stagelens.builds import Backend
from stagelens.engine import Engine

pytestmark = pytest.mark.engine


@pytest.fixture
def piped(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The running engine, through docker-py's adapter for pipes."""
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
        yield Engine(lambda: api, "npipe:////./pipe/docker_engine", "a test", engine.info)


def test_build_receives_its_context_and_secrets(
    piped: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    check_context_and_secrets(piped, tmp_path, unique)


@pytest.mark.parametrize("backend", ["session", "classic"])
def test_cancel_wakes_waiting_threads(piped: Engine, tmp_path: Path, unique: str, backend: Backend) -> None:
    check_cancel(piped, tmp_path, unique, backend)


def test_session_leaves_nothing_and_closes_twice(piped: Engine) -> None:
    with no_leaks(threads, descriptors):
        session = Session(piped.api)
        session.close()
        session.close()


def test_missing_pipe_is_a_lost_connection(piped: Engine, tmp_path: Path) -> None:
    piped.api.get_adapter(piped.api.base_url).npipe_path = str(tmp_path / "none")  # pyright: ignore
    with pytest.raises(ConnectionLost, match="does not answer") as lost:
        Session(piped.api)
    assert lost.value.where == str(tmp_path / "none")
