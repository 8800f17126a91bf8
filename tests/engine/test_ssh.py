"""An engine behind a real SSH server is found and used like any other, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from stagelens_testing.resources import (
    PATIENCE,
    children,
    descriptors,
    has_ended,
    no_leaks,
    threads,
    wait_until,
)
from stagelens_testing.sshd import SshServer

import stagelens
from stagelens.buildkit import BuildCancelled, Cancel, TarFile
from stagelens.builds import LogLine, Vertex
from stagelens.cli.doctor import examine
from stagelens.engine import Engine, EngineNotFound, RejectedCandidate, connect
from stagelens.engine.client import Candidate, probe
from stagelens.engine.ssh import dial_command


@pytest.fixture
def far(sshd: SshServer, monkeypatch: pytest.MonkeyPatch, set_timeouts: Callable[..., None]) -> SshServer:
    """Return the server, with the user's `ssh` first on the PATH, no engine chosen and long timeouts."""
    set_timeouts(ssh_connect=round(PATIENCE), engine_probe_ssh=PATIENCE, engine_probe_patient=PATIENCE)
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return sshd


def programs() -> set[tuple[int, str]]:
    """List the programs that run on both sides, without the server itself."""
    return {(pid, line) for pid, line in children() if "[listener]" not in line}


def use_context(home: Path, address: str) -> None:
    """Write what `docker context create far --docker host=ADDRESS` and `docker context use far` write."""
    folder = home / ".docker/contexts/meta" / hashlib.sha256(b"far").hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": "far", "Metadata": {}, "Endpoints": {"docker": {"Host": address}}}
    (folder / "meta.json").write_text(json.dumps(meta))
    (home / ".docker/config.json").write_text(json.dumps({"currentContext": "far"}))


def project(folder: Path, *lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text("\n".join(["FROM diamol/base", *lines, ""]))
    return folder


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ssh://me@host:2222", "ssh -T -o ConnectTimeout=10 -l me -p 2222 -- host|docker system dial-stdio"),
        ("ssh://host", "ssh -T -o ConnectTimeout=10 -- host|docker system dial-stdio"),
        ("ssh://[::1]:22", "ssh -T -o ConnectTimeout=10 -p 22 -- ::1|docker system dial-stdio"),
        (
            "ssh://host/run/my docker.sock",
            "ssh -T -o ConnectTimeout=10 -- host|"
            "docker --host 'unix:///run/my docker.sock' system dial-stdio",
        ),
    ],
)
def test_dial_command(address: str, words: str) -> None:
    local, _, remote = words.partition("|")
    assert dial_command(address) == [*local.split(), remote]


@pytest.mark.parametrize(
    ("address", "shown", "reason"),
    [
        ("ssh://me:s3cret@host", "ssh://***@host", "an ssh address takes no password"),
        ("ssh://", "ssh://", "an ssh address is ssh://USER@HOST:PORT"),
        ("ssh://host:many", "ssh://host:many", "Port could not be cast"),
    ],
)
def test_invalid_ssh_addresses(address: str, shown: str, reason: str) -> None:
    rejected = probe(Candidate(address, "a test"))
    assert isinstance(rejected, RejectedCandidate)
    assert rejected.address == shown
    assert rejected.reason.startswith(reason)


def test_missing_ssh_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    rejected = probe(Candidate("ssh://host", "a test"))
    assert isinstance(rejected, RejectedCandidate)
    assert (rejected.reason, rejected.remedy) == (
        "ssh cannot be run: No such file or directory",
        "install OpenSSH's client",
    )


@pytest.mark.engine
@pytest.mark.parametrize(
    "by", ["DOCKER_HOST", "docker context far", "ssh's configuration", "a socket's path"]
)
def test_engine_is_found_through_ssh(
    far: SshServer, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    addresses = {
        "ssh's configuration": "ssh://lab",
        "a socket's path": f"{far.address('lost')}/run/engine.sock",
    }
    address = addresses.get(by, far.address())
    if by.startswith("docker context"):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("DOCKER_CONFIG", raising=False)
        use_context(tmp_path, address)
    else:
        monkeypatch.setenv("DOCKER_HOST", address)
    with no_leaks(threads, descriptors, programs):
        found = connect(start=False)
        assert (found.address, found.info.id) == (address, engine.info.id)
        assert found.origin == (by if by.startswith("docker context") else "DOCKER_HOST")
        assert found.api.ping()
        found.api.close()


@pytest.mark.engine
@pytest.mark.parametrize(
    ("user", "host", "reason", "remedy"),
    [
        ("root", "localhost", "does not know the host's key", "accept the key"),
        ("root", "changed", "not the one that ssh knows", "ssh-keygen -R"),
        ("stranger", "127.0.0.1", "accepts none of your keys", "ssh-add"),
        ("guest", "127.0.0.1", "may not use the engine's socket", "usermod -aG docker"),
        ("bare", "127.0.0.1", "no docker command", "install docker's command there"),
        ("lost", "127.0.0.1", "no engine answers on that host: dial unix /nowhere.sock", "start it there"),
        ("chatty", "127.0.0.1", "prints extra output: 'Welcome'", "start-up files silent"),
    ],
)
def test_problem_behind_ssh_is_reported(
    far: SshServer, monkeypatch: pytest.MonkeyPatch, user: str, host: str, reason: str, remedy: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", far.address(user, host))
    with no_leaks(threads, descriptors, programs), pytest.raises(EngineNotFound) as caught:
        connect(start=False)
    (rejected,) = caught.value.rejected
    assert reason in rejected.reason
    assert remedy in (caught.value.remedy or "")
    assert "{" not in (caught.value.remedy or "")


def test_missing_ssh_server_and_unknown_host(far: SshServer) -> None:
    reasons = [probe(Candidate(f"ssh://{host}", "a test")) for host in ("127.0.0.1:1", "nowhere.invalid")]
    assert [rejected.reason for rejected in reasons if isinstance(rejected, RejectedCandidate)] == [
        "no ssh server listens there",
        "no host of that name is known",
    ]


@pytest.mark.engine
def test_doctor_reports_a_session_through_ssh(far: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", far.address())
    found = {finding.name: finding for finding in examine()}
    assert (found["engine"].state, found["engine"].facts["address"]) == ("ok", far.address())
    assert found["builds"].facts == {"backend": "session"}


@pytest.mark.engine
def test_build_command_works_through_ssh(
    far: SshServer, tmp_path: Path, unique: str, clean: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", far.address())
    context = project(tmp_path / "context", f"RUN echo {unique}")
    line = [sys.executable, "-m", "stagelens_course", "build", str(context), "-t", unique]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("DOCKER_HOST", far.address("guest"))
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "may not use the engine's socket" in done.stderr
    assert "next: on that host" in done.stderr


@pytest.mark.engine
def test_build_with_secrets_result_and_stages(
    far: SshServer, tmp_path: Path, unique: str, clean: object
) -> None:
    context = project(
        tmp_path / "context",
        "COPY big /",
        f"RUN --mount=type=secret,id=word cat /run/secrets/word > /both; echo {unique} >> /both",
    )
    (context / "big").write_bytes(os.urandom(3_000_000))
    with no_leaks(threads, descriptors, programs):
        engine = connect(far.address(), start=False)
        trace = stagelens.build(context, tags=[unique], secrets={"word": b"secret "}, engine=engine)
        assert (trace.backend, trace.context_bytes) == ("session", 3_000_000)
        lens = stagelens.explore(context, trace, engine=engine)
        assert stagelens.read_file(lens, 0, None, "both").text == f"secret {unique}\n"
        out = tmp_path / "out.tar"
        stagelens.build(context, secrets={"word": b"secret "}, output=TarFile(out), engine=engine)
        assert out.stat().st_size > 3_000_000
        engine.api.close()


@pytest.mark.engine
def test_four_concurrent_builds(far: SshServer, tmp_path: Path, unique: str) -> None:
    """Stay within the server's default limits of sessions per connection and of new connections."""
    contexts = [project(tmp_path / f"c{n}", f"RUN echo {unique}{n} && sleep 1") for n in range(4)]
    with no_leaks(threads, descriptors, programs):
        engine = connect(far.address(), start=False)
        with ThreadPoolExecutor(4) as pool:
            traces = list(pool.map(lambda context: stagelens.build(context, engine=engine), contexts))
        assert [trace.backend for trace in traces] == ["session"] * 4
        engine.api.close()


@pytest.mark.engine
def test_cancel_stops_the_build_behind_ssh(far: SshServer, tmp_path: Path, unique: str) -> None:
    context, cancel = project(tmp_path / "context", f"RUN echo {unique} && sleep 600"), Cancel()

    def watch(vertex: Vertex, new: tuple[LogLine, ...]) -> None:
        if any(unique in line.text for line in new):
            threading.Thread(target=cancel, name="stagelens-test").start()

    with no_leaks(threads, descriptors, programs):
        engine = connect(far.address(), start=False)
        with pytest.raises(BuildCancelled):
            stagelens.build(context, engine=engine, on_vertex=watch, cancel=cancel)
        engine.api.close()


KILLED = """
import sys, stagelens
from stagelens.engine import connect
show = lambda vertex, new: [print(line.text, flush=True) for line in new]
stagelens.build(sys.argv[1], engine=connect(sys.argv[2], start=False), on_vertex=show)
"""


@pytest.mark.engine
def test_ssh_ends_with_a_killed_program(far: SshServer, tmp_path: Path, unique: str) -> None:
    context = project(tmp_path / "context", f"RUN echo {unique} && sleep 600")
    before = programs()
    with no_leaks(programs):
        line = [sys.executable, "-c", KILLED, str(context), far.address()]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert unique in process.stdout.readline()
            begun = [pid for pid, _ in programs() - before]
            assert len(begun) > 4
            process.send_signal(signal.SIGKILL)
        wait_until(lambda: all(has_ended(pid) for pid in begun), "an end of ssh")
