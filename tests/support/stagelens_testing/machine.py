"""Machines for tests: an engine in a separate network namespace, and a home without settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stagelens.cli.proxies import PROXIES
from stagelens.engine import LEASE_VARIABLE, Engine, PrivateEngine, connect


class Machine:
    """A network namespace with a system engine's docker0 and rules, and a home for stagelens."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.inside = ("nsenter", f"--net=/run/netns/{name}")
        self.private = PrivateEngine(home / "state/engine")
        # As for a person, who is no part of this test run.
        rest = {
            name: value for name, value in os.environ.items() if name not in ("DOCKER_HOST", LEASE_VARIABLE)
        }
        self.environment = rest | {"STAGELENS_HOME": str(home)}
        self.sh("ip link set lo up")
        self.sh("ip link add docker0 type bridge && ip address add 172.17.0.1/16 dev docker0")
        self.sh("iptables -t nat -N DOCKER && iptables -t nat -A DOCKER -i docker0 -j RETURN")

    def sh(self, script: str) -> str:
        command = [*self.inside, "sh", "-ec", script]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stagelens(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [*self.inside, sys.executable, "-m", "stagelens_course", *arguments]
        environment = self.environment | variables
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def network(self) -> list[str]:
        """List links and firewall rules, without counters."""
        links = [link["ifname"] for link in json.loads(self.sh("ip -j link"))]
        return sorted(links) + [line for line in self.sh("iptables-save").splitlines() if line[0] == "-"]

    def connect(self) -> Engine:
        return connect(self.private.address)

    def processes(self) -> list[str]:
        """List the command lines of the engine's processes, without those inside its containers."""
        marks = (str(self.private.folder), self.private.name)
        found: list[str] = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if any(mark in line for mark in marks):
                found.append(line)
        return found

    def mounts(self) -> list[str]:
        lines = Path("/proc/self/mounts").read_text().splitlines()
        return [line for line in lines if str(self.private.folder) in line]


@pytest.fixture
def bare_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, in an environment without proxies, settings of stagelens and docker, and extra CAs."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("DOCKER_CONFIG", "DOCKER_CONTEXT", "STAGELENS_EXTRA_CA", "STAGELENS_REGISTRY_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "ca").mkdir()
    return tmp_path


@pytest.fixture
def machine(unique: str) -> Iterator[Machine]:
    subprocess.run(["ip", "netns", "add", unique], check=True)
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        machine = Machine(unique, Path(folder))
        try:
            yield machine
        finally:
            machine.stagelens("engine", "stop")
            assert not machine.processes()
            subprocess.run(["ip", "netns", "delete", unique], check=True)
