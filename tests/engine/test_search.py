"""Which places are tried for an engine, in which order, and what is said of those that do not do."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
from stagelens_testing.held import PATIENCE

from stagelens.engine import Engine, EngineNotFound, Skipped, connect, private_engine, search
from stagelens.engine.client import Candidate, probe
from stagelens.engine.search import candidates

VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with an empty home, no variables and nothing chosen, on a machine without an engine."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("STAGELENS_HOME", str(tmp_path / "lens"))
    monkeypatch.setattr(search, "SYSTEM_RUN", tmp_path / "system")
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


def test_the_order_of_places(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_address_is_asked_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_context_that_cannot_be_read_is_told_and_passed_over(home: Path) -> None:
    use_context(home, "work", "unix:///work.sock")
    next(home.glob(".docker/contexts/meta/*/meta.json")).write_text("{")
    chosen = next(candidates())
    assert "corrupted" in (chosen.problem or "")
    assert "the default socket" in [candidate.origin for candidate in candidates()]


def test_tls_settings_that_do_not_work_are_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(home / "nothing"))
    assert "TLS" in (next(candidates()).problem or "")


def test_tls_settings_do_not_concern_a_socket(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///some.sock")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert next(candidates()) == Candidate("unix:///some.sock", "DOCKER_HOST")


def reason(address: str) -> str:
    result = probe(Candidate(address, "a test"))
    assert isinstance(result, Skipped)
    return result.reason


def test_no_socket(tmp_path: Path) -> None:
    assert reason(f"unix://{tmp_path}/none") == "no such socket"


def test_a_socket_that_nobody_listens_on(listening: tuple[socket.socket, str]) -> None:
    server, address = listening
    server.close()
    assert reason(address) == "the address is there, but nothing listens on it"


def test_a_server_that_says_nothing(listening: tuple[socket.socket, str]) -> None:
    assert reason(listening[1]) == "no answer within 3 s"


def test_a_server_that_never_comes_to_an_end(listening: tuple[socket.socket, str]) -> None:
    server, address = listening
    stop = threading.Event()

    def drip() -> None:
        connection, _ = server.accept()
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        # Each byte comes well within a read's timeout.
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
def test_a_server_that_is_no_engine(listening: tuple[socket.socket, str], answer: bytes) -> None:
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
def test_a_socket_of_somebody_else(listening: tuple[socket.socket, str], tmp_path: Path) -> None:
    (tmp_path / "s").chmod(0o600)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        result = probe(Candidate(listening[1], "a test"))
    finally:
        os.seteuid(0)
    assert isinstance(result, Skipped)
    assert result.reason.startswith("permission denied")
    assert "docker" in (result.remedy or "")


def test_the_error_names_every_place_and_its_reason(home: Path) -> None:
    (home / "run/docker.sock").touch()
    with pytest.raises(EngineNotFound) as caught:
        connect(start=False)
    tried = {skipped.address: skipped.reason for skipped in caught.value.tried}
    assert tried[f"unix://{home}/run/docker.sock"] == "the address is there, but nothing listens on it"
    assert tried[f"unix://{home}/.docker/run/docker.sock"] == "no such socket"
    assert all(address in str(caught.value) for address in tried)
    assert "next: " in str(caught.value)


@pytest.mark.parametrize(
    ("system", "release", "user", "words"),
    [
        ("darwin", "24.1", 501, "Docker Desktop"),
        ("linux", "5.15-microsoft-standard-WSL2", 1000, "WSL integration"),
        ("linux", "6.1", 1000, "sudo systemctl start docker"),
        ("linux", "6.1", 0, "./stagelens doctor --fix"),
    ],
)
def test_the_remedy_fits_the_system_and_the_user(
    home: Path, monkeypatch: pytest.MonkeyPatch, system: str, release: str, user: int, words: str
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.release", lambda: release)
    monkeypatch.setattr("os.geteuid", lambda: user, raising=False)
    with pytest.raises(EngineNotFound) as caught:
        connect(start=False)
    assert words in (caught.value.remedy or "")


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An engine that answers, and is slower than the quick look that each place gets."""
    monkeypatch.setattr("stagelens.engine.client.PROBE_SECONDS", 0.05)

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(0.2)
            said = b'{"ApiVersion": "1.41", "Version": "busy", "Os": "linux"}'
            with contextlib.suppress(OSError):  # the quick look has gone away
                self.send_response(200)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"tcp://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_engine_that_is_named_may_be_slow(busy: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setenv("DOCKER_HOST", busy)
    found = connect(start=False, report=told.append)
    assert (found.info.version, found.origin, found.skipped) == ("busy", "DOCKER_HOST", ())
    assert told == [f"waiting for the engine at {busy}"]
    assert connect(busy).info.version == "busy"


def test_one_that_is_slow_is_waited_for_before_the_search_ends(busy: str, home: Path) -> None:
    use_context(home, "class", busy)
    found = connect(start=True)
    assert (found.info.version, found.origin) == ("busy", "docker context class")
    assert busy not in {place.address for place in found.skipped}
    assert not (home / "lens/state/engine").exists()


@pytest.mark.engine
@pytest.mark.parametrize("variable", ["DOCKER_HOST", "DOCKER_CONTEXT"])
def test_an_engine_that_this_shell_names_is_replaced_by_no_other(
    engine: Engine, home: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    (home / "run/docker.sock").symlink_to(engine.address.removeprefix("unix://"))
    monkeypatch.setenv(variable, f"unix://{home}/dead" if variable == "DOCKER_HOST" else "gone")
    with pytest.raises(EngineNotFound, match=f"unset {variable}") as caught:
        connect(start=True)
    assert [skipped.origin for skipped in caught.value.tried] == [variable]
    assert not (home / "lens/state/engine").exists()


def test_the_private_engine_is_started_again_by_its_own_command(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", private_engine().address)
    with pytest.raises(EngineNotFound) as caught:
        connect(start=False)
    assert (caught.value.remedy or "").startswith("./stagelens engine start, or: unset DOCKER_HOST")


def test_an_address_that_is_given_is_the_only_one_tried(home: Path) -> None:
    with pytest.raises(EngineNotFound) as caught:
        connect(f"unix://{home}/dead", start=True)
    assert [skipped.origin for skipped in caught.value.tried] == ["the address given"]


@pytest.mark.engine
def test_dead_places_are_passed_over_and_remembered(engine: Engine, home: Path) -> None:
    use_context(home, "work", f"unix://{home}/dead")
    (home / "run/docker.sock").symlink_to(engine.address.removeprefix("unix://"))
    found = connect(start=False)
    assert found.origin == "the rootless socket"
    assert found.skipped[0] == Skipped(f"unix://{home}/dead", "docker context work", "no such socket")
    assert found.info == engine.info


@pytest.mark.engine
def test_the_current_context_is_used(engine: Engine, home: Path) -> None:
    use_context(home, "work", engine.address)
    found = connect(start=False)
    assert (found.address, found.origin) == (engine.address, "docker context work")


@pytest.mark.engine
def test_an_engine_is_found_with_two_questions(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    send = docker.APIClient.send

    def counted(api: docker.APIClient, request: Any, **options: Any) -> Any:
        asked.append(request.path_url.rpartition("/")[2])
        return send(api, request, **options)

    # One that is late is asked again.
    monkeypatch.setattr("stagelens.engine.client.PATIENT_SECONDS", PATIENCE)
    monkeypatch.setattr("stagelens.engine.client.PROBE_SECONDS", PATIENCE)
    monkeypatch.setattr(docker.APIClient, "send", counted)
    connect(engine.address).api.close()
    assert asked == ["version", "info"]


@pytest.mark.engine
def test_what_an_engine_says_of_itself(engine: Engine) -> None:
    said = engine.api.info()
    info = engine.info
    assert info.version == said["ServerVersion"]
    assert (info.storage_driver, info.cpus, info.memory) == (said["Driver"], said["NCPU"], said["MemTotal"])
    assert info.root_dir == said["DockerRootDir"]
    assert info.os == "linux"
    assert info.api_version == engine.api.version()["ApiVersion"]
