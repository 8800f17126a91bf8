"""A session and a cancel on docker-py's two SSH transports: the `ssh` program and paramiko."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import docker
import pytest
from stagelens_testing.connections import check_cancel, check_context_and_secrets
from stagelens_testing.resources import descriptors, no_leaks, threads
from stagelens_testing.sshd import SshServer

from stagelens.buildkit import ConnectionLost, Session
from stagelens.builds import Backend
from stagelens.engine import Engine

pytestmark = [
    pytest.mark.engine,
    # docker-py wants it for both.
    pytest.mark.skipif(importlib.util.find_spec("paramiko") is None, reason="not installed: paramiko"),
]


@pytest.fixture(params=[True, False], ids=["program", "paramiko"])
def engine_there(
    request: pytest.FixtureRequest, sshd: SshServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """The running engine, through a client that docker-py created."""
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(sshd.home))
    with closing(docker.APIClient(sshd.address(), version="auto", use_ssh_client=request.param)) as api:
        yield Engine(lambda: api, sshd.address(), "a test", engine.info)


def test_build_receives_its_context_and_secrets(
    engine_there: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    check_context_and_secrets(engine_there, tmp_path, unique)


@pytest.mark.parametrize("backend", ["session", "classic"])
def test_cancel_wakes_waiting_threads(
    engine_there: Engine, tmp_path: Path, unique: str, backend: Backend
) -> None:
    check_cancel(engine_there, tmp_path, unique, backend)


def test_session_leaves_nothing_open(engine_there: Engine) -> None:
    Session(engine_there.api).close()
    with no_leaks(threads, descriptors):
        Session(engine_there.api).close()


@pytest.mark.parametrize("engine_there", [False], ids=["paramiko"], indirect=True)
def test_connection_without_free_sessions_is_named(engine_there: Engine) -> None:
    """Paramiko's channels share one connection to the server, which allows ten by default."""
    with ExitStack() as sessions:
        attempts = (sessions.enter_context(Session(engine_there.api)) for _ in range(11))
        with pytest.raises(ConnectionLost, match="does not answer"):
            list(attempts)
