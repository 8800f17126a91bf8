"""A private engine: a dockerd of our own, for machines that have the program but no running engine.

Its data, socket, pid file and log are ours alone, and its bridge has a name and a subnet of its own, so
that a system engine beside it loses nothing: two engines that share docker0 take it from each other.
It is detached from the program that starts it and lives until `stagelens engine stop`.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from stagelens.engine.client import Candidate, probe
from stagelens.engine.errors import EngineStartFailed
from stagelens.engine.model import Skipped
from stagelens.paths import state_dir

BRIDGE = "stagelens0"
READY_SECONDS = 60.0
_STOP_SECONDS = 30.0
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PrivateEngine:
    """Where the private engine's files are."""

    folder: Path

    @property
    def socket(self) -> Path:
        """Its API socket."""
        return self.folder / "docker.sock"

    @property
    def address(self) -> str:
        """What DOCKER_HOST would be."""
        return f"unix://{self.socket}"

    @property
    def log(self) -> Path:
        """What dockerd prints."""
        return self.folder / "dockerd.log"

    @property
    def pid_file(self) -> Path:
        """Written by dockerd."""
        return self.folder / "dockerd.pid"

    def pid(self) -> int | None:
        """The running dockerd's process id; None where the file is stale or the id is another program's."""
        try:
            pid = int(self.pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self.socket) in b" ".join(command) else None


def private_engine() -> PrivateEngine:
    """The one of this user."""
    return PrivateEngine(state_dir() / "engine")


def can_start() -> str | None:
    """None where a private engine can be started here, else why not."""
    if sys.platform != "linux":
        return "a private engine needs Linux"
    if os.geteuid() != 0:
        return "a private engine needs root"
    missing = [name for name in ("dockerd", "iptables") if _program(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def start(report: Report | None = None) -> PrivateEngine:
    """Start the private engine unless it runs, and wait until it answers.

    Raises
    ------
    EngineStartFailed: with the telling lines of its log.
    """
    engine = private_engine()
    engine.folder.mkdir(parents=True, exist_ok=True)
    if reason := can_start():
        raise EngineStartFailed("No private engine can be started here.", why=reason)
    with FileLock(engine.folder / "start.lock"):
        if engine.pid() is None:
            engine.pid_file.unlink(missing_ok=True)
            _launch(engine)
        _wait(engine, report)
    return engine


def stop() -> bool:
    """Stop the private engine and wait for its end; False where none runs."""
    engine = private_engine()
    pid = engine.pid()
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while engine.pid() is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            break
        _reap(pid)
        time.sleep(0.1)
    if ip := _program("ip"):
        subprocess.run([ip, "link", "delete", BRIDGE], capture_output=True, check=False)
    return True


def _reap(pid: int) -> None:
    """Where this very process started it, a stopped dockerd would stay as a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _launch(engine: PrivateEngine) -> None:
    dockerd = _program("dockerd")
    assert dockerd is not None
    _make_bridge()
    command = [
        dockerd,
        f"--host={engine.address}",
        f"--data-root={engine.folder / 'data'}",
        f"--exec-root={engine.folder / 'exec'}",
        f"--pidfile={engine.pid_file}",
        f"--bridge={BRIDGE}",
    ]
    environment = os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"}
    with engine.log.open("wb") as log:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=environment,
        )


def _make_bridge() -> None:
    """The bridge with the first subnet of a private range that no interface or route uses."""
    ip = _program("ip")
    if ip is None:
        raise EngineStartFailed("The program ip is missing.", remedy="apt-get install iproute2")
    if subprocess.run([ip, "link", "show", BRIDGE], capture_output=True, check=False).returncode == 0:
        return
    routes = subprocess.run([ip, "-4", "route", "show"], capture_output=True, text=True, check=False).stdout
    taken = [_network(line.split()[0]) for line in routes.splitlines() if line and line[0].isdigit()]
    for third in range(200, 255):
        subnet = ipaddress.ip_network(f"172.30.{third}.0/24")
        if not any(subnet.overlaps(other) for other in taken):
            address = f"{subnet.network_address + 1}/24"
            for command in (
                [ip, "link", "add", BRIDGE, "type", "bridge"],
                [ip, "address", "add", address, "dev", BRIDGE],
                [ip, "link", "set", BRIDGE, "up"],
            ):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise EngineStartFailed("The engine's bridge cannot be made.", why=done.stderr.strip())
            return


def _network(text: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(text, strict=False)


def _wait(engine: PrivateEngine, report: Report | None) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < READY_SECONDS:
        if not isinstance(probe(Candidate(engine.address, "private engine")), Skipped):
            return
        if time.monotonic() - begun > 1.0 and engine.pid() is None and not _alive(engine):
            break
        if report is not None:
            report(f"starting a private engine ({time.monotonic() - begun:.0f} s)")
        time.sleep(0.2)
    raise EngineStartFailed(
        "The private engine did not start.",
        where=str(engine.log),
        why=_telling(engine.log),
        remedy="stagelens engine logs",
    )


def _alive(engine: PrivateEngine) -> bool:
    """Whether dockerd may still be on its way: it writes its pid file early, its last line says the end."""
    return b"failed to start daemon" not in engine.log.read_bytes()[-4000:]


def _telling(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    telling = [line for line in lines if "level=fatal" in line or "level=error" in line or "failed" in line]
    return "\n".join((telling or lines)[-3:])[:1500]


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")
