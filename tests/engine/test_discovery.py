"""Finding an engine: which addresses are tried, in which order, and why one is rejected."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
from stagelens_testing.resources import PATIENCE

from stagelens.engine import Engine, EngineNotFound, RejectedCandidate, connect, discovery, private_engine
from stagelens.engine.client import Candidate, probe
from stagelens.engine.discovery import candidates
from stagelens.engine_socket import EngineSocket

VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up a user with an empty home and no variables, on a machine without an engine."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("STAGELENS_HOME", str(tmp_path / "lens"))
    monkeypatch.setattr(discovery, "SYSTEM_RUN", tmp_path / "system")
    (tmp_path / "run").mkdir()
    return tmp_path


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen()
    yield server, f"unix://{tmp_path}/s"
    server.close()


def use_context(home: Path, name: str, host: str) -> None:
    folder = home / ".docker/contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}
    (folder / "meta.json").write_text(json.dumps(meta))
    (home / ".docker/config.json").write_text(json.dumps({"currentContext": name}))


def test_candidates_in_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://one:2375")
    use_context(home, "work", "unix:///two.sock")
    origins = list(dict.fromkeys(candidate.origin for candidate in candidates()))
    assert origins[:5] == [
        "DOCKER_HOST",
        "docker context work",
        "Docker Desktop's socket",
        "the rootless socket",
        "the default socket",
    ]
    assert [o for o in origins if "Podman" in o] == [
        "Podman's rootless socket",
        "Podman's socket",
        "Podman machine's socket",
    ]
    assert next(candidates()).address == "tcp://one:2375"


def test_each_address_is_tried_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    addresses = [candidate.address for candidate in candidates()]
    assert len(addresses) == len(set(addresses))


def test_docker_context_from_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_context(home, "work", "unix:///work.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert all(not candidate.origin.startswith("docker context") for candidate in candidates())
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    chosen = next(candidate for candidate in candidates() if candidate.origin == "DOCKER_CONTEXT")
    assert chosen.problem == "no context of that name (docker context ls)"


def test_unreadable_context_is_reported_and_skipped(home: Path) -> None:
    use_context(home, "work", "unix:///work.sock")
    next(home.glob(".docker/contexts/meta/*/meta.json")).write_text("{")
    chosen = next(candidates())
    assert "corrupted" in (chosen.problem or "")
    assert "the default socket" in [candidate.origin for candidate in candidates()]


def test_unusable_tls_settings_are_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(home / "nothing"))
    assert "TLS" in (next(candidates()).problem or "")


def test_tls_settings_do_not_apply_to_a_socket(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///some.sock")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert next(candidates()) == Candidate("unix:///some.sock", "DOCKER_HOST")


def reason(address: str) -> str:
    result = probe(Candidate(address, "a test"))
    assert isinstance(result, RejectedCandidate)
    return result.reason


def test_missing_socket(tmp_path: Path) -> None:
    assert reason(f"unix://{tmp_path}/none") == "no such socket"


def test_socket_without_a_listener(listening: tuple[socket.socket, str]) -> None:
    server, address = listening
    server.close()
    assert reason(address) == "the address exists, but nothing listens on it"


def test_server_without_an_answer(listening: tuple[socket.socket, str]) -> None:
    assert reason(listening[1]) == "no answer within 3 s"


def test_server_that_never_finishes_its_answer(listening: tuple[socket.socket, str]) -> None:
    server, address = listening
    stop = threading.Event()

    def drip() -> None:
        connection, _ = server.accept()
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        # Each byte arrives well within the timeout of a read.
        while not stop.wait(0.2):
            connection.sendall(b"X")
        connection.close()

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert reason(address) == "no answer within 3 s"
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[1,2"]
)
def test_server_that_is_not_an_engine(listening: tuple[socket.socket, str], answer: bytes) -> None:
    server, address = listening

    def serve() -> None:
        connection, _ = server.accept()
        connection.recv(4096)
        connection.sendall(answer)
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert reason(address)
    finally:
        thread.join()


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becomes another user for a moment"
)
def test_socket_of_another_user(listening: tuple[socket.socket, str], tmp_path: Path) -> None:
    (tmp_path / "s").chmod(0o600)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        result = probe(Candidate(listening[1], "a test"))
    finally:
        os.seteuid(0)
    assert isinstance(result, RejectedCandidate)
    assert result.reason.startswith("permission denied")
    assert "docker" in (result.remedy or "")


def test_error_lists_every_address_and_its_reason(home: Path) -> None:
    (home / "run/docker.sock").touch()
    with pytest.raises(EngineNotFound) as caught:
        connect(start=False)
    reasons = {each.address: each.reason for each in caught.value.rejected}
    assert reasons[f"unix://{home}/run/docker.sock"] == "the address exists, but nothing listens on it"
    assert reasons[f"unix://{home}/.docker/run/docker.sock"] == "no such socket"
    assert all(address in str(caught.value) for address in reasons)
    assert "next: " in str(caught.value)


@pytest.mark.parametrize(
    ("system", "release", "user", "words"),
    [
        ("darwin", "24.1", 501, "Docker Desktop"),
        ("linux", "5.15-microsoft-standard-WSL2", 1000, "WSL integration"),
        ("linux", "6.1", 1000, "sudo systemctl start docker"),
        ("linux", "6.1", 0, "stagelens doctor --fix"),
    ],
)
def test_remedy_fits_the_system_and_the_user(
    home: Path, monkeypatch: pytest.MonkeyPatch, system: str, release: str, user: int, words: str
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.release", lambda: release)
    monkeypatch.setattr("os.geteuid", lambda: user, raising=False)
    with pytest.raises(EngineNotFound) as caught:
        connect(start=False)
    assert words in (caught.value.remedy or "")


@pytest.fixture
def busy(set_timeouts: Callable[..., None]) -> Iterator[str]:
    """Serve an engine that answers more slowly than the first probe of an address waits."""
    set_timeouts(engine_probe=0.05)

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(0.2)
            body = b'{"ApiVersion": "1.41", "Version": "busy", "Os": "linux"}'
            with contextlib.suppress(OSError):  # the first probe has closed the connection
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"tcp://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_explicit_engine_may_be_slow(busy: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[str] = []
    monkeypatch.setenv("DOCKER_HOST", busy)
    found = connect(start=False, report=reported.append)
    assert (found.info.version, found.origin, found.rejected) == ("busy", "DOCKER_HOST", ())
    assert reported == [f"waiting for the engine at {busy}"]
    assert connect(busy).info.version == "busy"


def test_slow_engine_is_retried_after_all_others_are_rejected(busy: str, home: Path) -> None:
    use_context(home, "class", busy)
    found = connect(start=True)
    assert (found.info.version, found.origin) == ("busy", "docker context class")
    assert busy not in {each.address for each in found.rejected}
    assert not (home / "lens/state/engine").exists()


@pytest.mark.engine
@pytest.mark.parametrize("variable", ["DOCKER_HOST", "DOCKER_CONTEXT"])
def test_exclusive_engine_is_not_replaced_by_another(
    engine: Engine, home: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    (home / "run/docker.sock").symlink_to(engine.address.removeprefix("unix://"))
    monkeypatch.setenv(variable, f"unix://{home}/dead" if variable == "DOCKER_HOST" else "gone")
    with pytest.raises(EngineNotFound, match=f"unset {variable}") as caught:
        connect(start=True)
    assert [each.origin for each in caught.value.rejected] == [variable]
    assert not (home / "lens/state/engine").exists()


def test_remedy_for_the_private_engine_is_its_start_command(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", private_engine().address)
    with pytest.raises(EngineNotFound) as caught:
        connect(start=False)
    assert (caught.value.remedy or "").startswith("stagelens engine start, or: unset DOCKER_HOST")


def test_given_host_is_the_only_address_tried(home: Path) -> None:
    with pytest.raises(EngineNotFound) as caught:
        connect(f"unix://{home}/dead", start=True)
    assert [each.origin for each in caught.value.rejected] == ["the address given"]


@pytest.mark.engine
def test_rejected_addresses_are_recorded(engine: Engine, home: Path) -> None:
    use_context(home, "work", f"unix://{home}/dead")
    (home / "run/docker.sock").symlink_to(engine.address.removeprefix("unix://"))
    found = connect(start=False)
    assert found.origin == "the rootless socket"
    assert found.rejected[0] == RejectedCandidate(
        f"unix://{home}/dead", "docker context work", "no such socket"
    )
    assert found.info == engine.info


@pytest.mark.engine
def test_current_context_is_used(engine: Engine, home: Path) -> None:
    use_context(home, "work", engine.address)
    found = connect(start=False)
    assert (found.address, found.origin) == (engine.address, "docker context work")


@pytest.mark.engine
@pytest.mark.parametrize("socket", [True, False], ids=["socket", "docker-py"])
def test_connect_sends_two_requests(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, set_timeouts: Callable[..., None], socket: bool
) -> None:
    asked: list[str] = []
    get, send = EngineSocket.get, docker.APIClient.send

    def counted_get(api: EngineSocket, path: str, timeout: float) -> Any:
        asked.append(path.rpartition("/")[2])
        return get(api, path, timeout)

    def counted(api: docker.APIClient, request: Any, **options: Any) -> Any:
        asked.append(request.path_url.rpartition("/")[2])
        return send(api, request, **options)

    # A request that times out is sent again.
    set_timeouts(engine_probe=PATIENCE, engine_probe_patient=PATIENCE)
    monkeypatch.setattr(EngineSocket, "get", counted_get)
    monkeypatch.setattr(EngineSocket, "supports", lambda _: socket)
    monkeypatch.setattr(docker.APIClient, "send", counted)
    connect(engine.address).api.close()
    assert asked == ["version", "info"]


@pytest.mark.engine
def test_engine_info_matches_the_engine(engine: Engine) -> None:
    expected = engine.api.info()
    info = engine.info
    assert info.version == expected["ServerVersion"]
    assert (info.storage_driver, info.cpus, info.memory) == (
        expected["Driver"],
        expected["NCPU"],
        expected["MemTotal"],
    )
    assert info.root_dir == expected["DockerRootDir"]
    assert info.os == "linux"
    assert info.api_version == engine.api.version()["ApiVersion"]
