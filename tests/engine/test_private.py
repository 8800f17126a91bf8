"""Starting, using and stopping a private engine in a separate network namespace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from stagelens_testing.engines import copy_image
from stagelens_testing.machine import Machine
from stagelens_testing.resources import has_ended, wait_until

from stagelens.builds import BuildFailed, Vertex, build
from stagelens.engine import Engine, PrivateEngine, start_blocker, start_private
from stagelens.engine.private import lifecycle, network
from stagelens.errors import StagelensError
from stagelens_course.images.model import ReplicaFailed
from stagelens_course.images.replica import make_base

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        start_blocker() is not None, reason=f"a private engine cannot start here: {start_blocker()}"
    ),
]


def run_a_container(engine: Engine, folder: Path, network: str = "ours", tty: bool = False) -> str:
    """Run a container with this machine's `sleep` and its libraries, on a user's network."""
    archive = folder / "sleep.tar"
    with tarfile.open(archive, "w") as tar:
        for word in ["/bin/sleep", *subprocess.check_output(["ldd", "/bin/sleep"], text=True).split()]:
            if word.startswith("/"):
                tar.add(Path(word).resolve(), arcname=word)
    engine.api.import_image_from_file(str(archive), repository="sleeper")
    if not engine.api.networks(names=[network]):
        engine.api.create_network(network)
    host = engine.api.create_host_config(network_mode=network)
    command, signal = ["/bin/sleep", "600"], "SIGKILL"
    container = engine.api.create_container("sleeper", command, tty=tty, stop_signal=signal, host_config=host)
    engine.api.start(container)
    return str(container["Id"])


def test_start_serve_stop(machine: Machine, tmp_path: Path) -> None:
    before = machine.network()
    assert machine.stagelens("engine", "status", "--json").stdout.count("false") == 1
    started = machine.stagelens("engine", "start")
    assert started.returncode == 0, started.stderr
    assert f"export DOCKER_HOST={machine.private.address}" in started.stdout.splitlines()
    exported = f"export DOCKER_HOST={machine.private.address}"
    assert machine.stagelens("env").stdout.splitlines() == [exported]
    pid = machine.private.pid()
    assert pid is not None
    assert json.loads(machine.stagelens("engine", "status", "--json").stdout)["pid"] == pid
    # Restarting a kernel, or Ctrl-C in a terminal, ends a whole session.
    assert os.getsid(pid) == pid

    assert machine.stagelens("engine", "start").returncode == 0
    assert machine.private.pid() == pid

    engine = machine.connect()
    assert engine.info.root_dir == str(machine.private.folder / "data")
    container = run_a_container(engine, tmp_path)
    inner = engine.api.inspect_container(container)["State"]["Pid"]
    assert not has_ended(inner)
    engine.api.close()

    assert "stopped" in machine.stagelens("engine", "stop").stderr
    assert (machine.processes(), machine.mounts()) == ([], [])
    assert has_ended(inner)
    assert machine.network() == before
    assert "no private engine" in machine.stagelens("engine", "stop").stderr


def test_start_prints_a_line_for_a_shell(machine: Machine, tmp_path: Path) -> None:
    home = {"STAGELENS_HOME": str(tmp_path / "나의 집")}
    line = machine.stagelens("engine", "start", **home).stdout
    try:
        printed = subprocess.run(
            ["sh", "-ec", 'eval "$0"; echo "$DOCKER_HOST"', line], capture_output=True, text=True, check=True
        )
        status = json.loads(machine.stagelens("engine", "status", "--json", **home).stdout)
        assert (printed.stdout.strip(), status["running"]) == (status["address"], True)
    finally:
        machine.stagelens("engine", "stop", **home)


def test_engine_does_not_use_the_temporary_folders_of_its_starter(machine: Machine, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    names = dict.fromkeys(("TMPDIR", "XDG_RUNTIME_DIR"), str(folder))
    assert machine.stagelens("engine", "start", **names).returncode == 0
    pid = machine.private.pid()
    assert pid is not None
    # dockerd does this to a containerd that does not answer, before it kills it.
    (containerd,) = (each for each in psutil.Process(pid).children() if each.name() == "containerd")
    containerd.send_signal(signal.SIGUSR1)
    stacks = machine.private.temp_dir / f"containerd.{containerd.pid}.stacks.log"
    wait_until(stacks.exists, "containerd's stacks file")
    folder.rmdir()
    # The container's shim creates a terminal's socket as a temporary file.
    engine = machine.connect()
    run_a_container(engine, tmp_path, tty=True)
    engine.api.close()
    machine.stagelens("engine", "stop")
    assert not machine.private.temp_dir.exists()


def test_images_survive_a_stop_and_docker0_survives_a_start(machine: Machine, tmp_path: Path) -> None:
    before = machine.network()
    machine.stagelens("engine", "start")
    with_tar = tmp_path / "empty.tar"
    tarfile.open(with_tar, "w").close()
    engine = machine.connect()
    engine.api.import_image_from_file(str(with_tar), repository="stored")
    engine.api.close()
    machine.stagelens("engine", "stop")
    # If dockerd finds a record of its networks, it deletes docker0, even that of a system engine.
    machine.stagelens("engine", "start")
    assert set(before) <= set(machine.network())
    engine = machine.connect()
    assert engine.api.images("stored")
    engine.api.close()


CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=2)
except OSError as error:
    print(type(error).__name__)
"""


def test_many_networks_are_isolated_from_each_other(machine: Machine, tmp_path: Path) -> None:
    machine.stagelens("engine", "start")
    engine = machine.connect()
    for number in range(24):
        engine.api.create_network(f"n{number}")
    states = [
        engine.api.inspect_container(run_a_container(engine, tmp_path, network))
        for network in ("n1", "n1", "n2")
    ]
    pids = [state["State"]["Pid"] for state in states]
    addresses = [
        network["IPAddress"] for state in states for network in state["NetworkSettings"]["Networks"].values()
    ]
    engine.api.close()

    def connect_error(address: str) -> str:
        command = [f"--net=/proc/{pids[0]}/ns/net", sys.executable, "-c", CONNECT, address]
        return subprocess.run(
            ["nsenter", *command], capture_output=True, text=True, check=True
        ).stdout.strip()

    # Nothing listens: the container refuses a permitted connection, and the firewall drops another.
    assert connect_error(addresses[1]) == "ConnectionRefusedError"
    assert connect_error(addresses[2]) == "TimeoutError"


def test_concurrent_starts_start_one_engine(machine: Machine) -> None:
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: machine.stagelens("engine", "start"), range(2)))
    assert [done.returncode for done in both] == [0, 0]
    assert sum("dockerd" in line.split()[0] for line in machine.processes()) == 1


def test_pid_file_of_another_program_is_stale(machine: Machine) -> None:
    machine.private.folder.mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"]) as other:
        machine.private.pid_file.write_text(str(other.pid))
        assert machine.private.pid() is None
        assert "no private engine" in machine.stagelens("engine", "stop").stderr
        machine.private.pid_file.write_text(str(other.pid))
        assert machine.stagelens("engine", "start").returncode == 0
        assert machine.private.pid() not in (None, other.pid)
        assert other.poll() is None
        other.kill()


@pytest.fixture
def disk(machine: Machine) -> Iterator[str]:
    """Mount a disk for the engine's data, and return its line among the mounts."""
    data = machine.private.folder / "data"
    data.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "disk", data], check=True)
    try:
        (line,) = machine.mounts()
        yield line
    finally:
        machine.stagelens("engine", "stop")
        subprocess.run(["umount", data], check=True)


def test_stop_removes_what_a_killed_engine_left_and_nothing_else(
    machine: Machine, disk: str, tmp_path: Path
) -> None:
    machine.stagelens("engine", "start")
    engine = machine.connect()
    container = run_a_container(engine, tmp_path)
    inner = engine.api.inspect_container(container)["State"]["Pid"]
    engine.api.close()
    pid = machine.private.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: has_ended(pid), "dockerd's end")
    assert machine.private.pid() is None
    assert any("containerd" in line for line in machine.processes())

    assert any("merged" in line for line in machine.mounts())
    machine.stagelens("engine", "stop")
    assert (machine.processes(), machine.mounts()) == ([], [disk])
    assert has_ended(inner)
    assert machine.stagelens("engine", "start").returncode == 0


def test_failed_start_quotes_the_log_and_leaves_nothing(machine: Machine) -> None:
    before = machine.network()
    machine.private.folder.mkdir(parents=True)
    (machine.private.folder / "data").write_text("not a folder")
    failed = machine.stagelens("engine", "start")
    assert failed.returncode == 1
    # The words depend on dockerd's version.
    expected = ("not a directory", "points to a file")
    assert any(words in failed.stderr for words in expected)
    assert "dockerd.log" in failed.stderr
    assert (machine.processes(), machine.mounts(), machine.network()) == ([], [], before)
    log = machine.stagelens("engine", "logs").stdout
    assert any(words in log for words in expected)


def test_user_bridges_of_a_slow_engine_are_found(
    engine: Engine, clean: Any, unique: str, set_timeouts: Callable[..., None]
) -> None:
    set_timeouts(engine_probe=0.0)
    network_id = engine.api.create_network(unique, labels=clean.labels)["Id"]
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:  # short enough for a socket
        busy = PrivateEngine(Path(folder))
        busy.socket.symlink_to(engine.address.removeprefix("unix://"))
        assert f"br-{network_id[:12]}" in lifecycle._user_bridges(busy)


def test_interrupted_start_leaves_no_dockerd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(["sleep", "600"], **options))
        os.kill(os.getpid(), signal.SIGINT)
        return started[-1]

    monkeypatch.setattr(
        lifecycle, "subprocess", SimpleNamespace(Popen=interrupted, DEVNULL=subprocess.DEVNULL)
    )
    monkeypatch.setattr(network, "set_up", lambda name, pool: None)
    with pytest.raises(KeyboardInterrupt):
        start_private(engine=PrivateEngine(tmp_path / "engine"))
    still = not has_ended(started[0].pid)
    started[0].kill()
    started[0].wait()
    assert not still


def test_long_folder_gets_a_run_dir_short_enough_for_sockets(tmp_path: Path) -> None:
    long = PrivateEngine(tmp_path / ("x" * 60) / "engine")
    assert len(os.fsencode(long.run_dir / "exec/containerd/containerd.sock.ttrpc")) < 108
    assert long.name in str(long.run_dir)
    assert PrivateEngine(tmp_path / ("y" * 60) / "engine").run_dir != long.run_dir


def doctor(machine: Machine, **variables: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = machine.stagelens("doctor", "--json", **variables)
    return done.returncode, {row["name"]: row for row in json.loads(done.stdout)["findings"]}


def test_doctor_reports_each_problem_of_a_machine(machine: Machine) -> None:
    code, found = doctor(machine)
    assert (code, found["engine"]["state"]) == (1, "problem")
    assert f"{machine.private.address} (private engine): no such socket" in found["engine"]["text"]
    assert found["engine"]["remedy"] == "stagelens doctor --fix"

    listen = "import socket; s = socket.create_server(('127.0.0.1', 800)); print(flush=True); input()"
    with small_disk(machine):
        assert machine.stagelens("engine", "start").returncode == 0
        inside = [*machine.inside, sys.executable, "-c", listen]
        with subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listener:
            assert listener.stdout is not None
            listener.stdout.readline()
            code, found = doctor(machine, HTTPS_PROXY="http://me:s3cret@proxy.example:1")
            listener.communicate(b"\n")
    assert code == 1
    assert (found["engine"]["state"], found["builds"]["state"]) == ("ok", "ok")
    assert found["disk"]["state"] == "problem"
    assert "docker builder prune" in found["disk"]["remedy"]
    assert (found["diamol/base"]["state"], found["diamol/base"]["remedy"]) == (
        "problem",
        "stagelens images diamol/base",
    )
    # The engine was started without the proxy, which its pulls would need.
    assert found["the engine's proxies"]["state"] == "note"
    assert "engine stop" in found["the engine's proxies"]["remedy"]
    assert (found["port 800"]["state"], found["port 801"]["state"]) == ("note", "ok")
    assert "s3cret" not in json.dumps(found)


@contextmanager
def small_disk(machine: Machine) -> Generator[None]:
    """Give the machine's private engine 150 MB of disk, and stop it at the end."""
    home = machine.private.folder.parent
    home.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", home], check=True)
    try:
        yield
    finally:
        machine.stagelens("engine", "stop")
        subprocess.run(["umount", home], check=True)


def test_full_disk_is_reported_with_its_folder_and_a_start_with_space_succeeds(machine: Machine) -> None:
    with small_disk(machine):
        zeros = machine.private.folder.parent / "zeros"
        fill = f"dd if=/dev/zero of={zeros} bs=4k 2>/dev/null || true"
        machine.sh(fill)
        failed = machine.stagelens("engine", "start")
        assert failed.returncode == 1
        assert "error: The private engine did not start." in failed.stderr
        assert f"where: {machine.private.folder}" in failed.stderr
        assert "No space left on device" in failed.stderr
        assert "next: free some disk space" in failed.stderr
        zeros.unlink()
        assert machine.stagelens("engine", "start").returncode == 0

        machine.sh(fill)
        engine = machine.connect()
        with pytest.raises(ReplicaFailed, match="next: check the engine and its free space"):
            make_base(engine.api, "sltest-full", {})
        engine.api.close()


@pytest.fixture
def small(machine: Machine, engine: Engine) -> Iterator[Engine]:
    """Start a private engine with diamol/base and 150 MB of disk."""
    with small_disk(machine):
        assert machine.stagelens("engine", "start").returncode == 0
        found = machine.connect()
        copy_image(engine, found, "diamol/base")
        yield found
        found.api.close()


def test_full_or_killed_engine_is_reported_by_the_build(
    small: Engine, machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM diamol/base\nRUN dd if=/dev/zero of=/large bs=1M count=300\n")
    with pytest.raises(BuildFailed) as full:
        build(tmp_path, engine=small)
    assert full.value.line == 2
    assert "No space left on device" in (full.value.why or "")
    assert "docker builder prune" in (full.value.remedy or "")

    (tmp_path / "Dockerfile").write_text("FROM diamol/base\nRUN sleep 600\n")
    pid = machine.private.pid()
    assert pid is not None

    def kill(vertex: Vertex, lines: object) -> None:
        if vertex.instruction is not None and "sleep" in vertex.name and psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(StagelensError, match="connection to the engine broke") as died:
        build(tmp_path, engine=small, on_vertex=kill)
    assert "stagelens doctor" in (died.value.remedy or "")
    # The next start removes what the killed engine ran, even if the process id of its containerd is in use
    # by a zombie or another program.
    (machine.private.run_dir / "exec/containerd/containerd.pid").write_text(str(os.getpid()))
    assert machine.stagelens("engine", "start").returncode == 0
    (tmp_path / "Dockerfile").write_text("FROM diamol/base\nRUN true\n")
    assert build(tmp_path, engine=small).image_id
