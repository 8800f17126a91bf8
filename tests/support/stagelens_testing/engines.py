"""Engine 26 beside the running engine: with the classic image store or containerd's, for one test session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from stagelens.engine import Engine, EngineNotFound, connect
from stagelens_testing import packages
from stagelens_testing.held import PATIENCE

KINDS = ("running", "26-classic", "26-containerd")
# Namespaces of its own end with it: its network (it would touch the first engine's firewall rules), its
# mounts, its processes. A /run of its own keeps it from the machine's containerd.
# The first word: a test run that is killed takes its engines along.
_ISOLATED = "setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc"
_SCRIPT = 'mount -t tmpfs none /run && ip link set lo up && exec dockerd --config-file="$0"'


def pid_of(engine: Engine) -> int | None:
    """The process whose network namespace an engine of ours lives in; None for the running engine."""
    return _pids.get(engine.address)


_pids: dict[str, int] = {}


def lingering(backend: str) -> str:
    """What the command of a step ends in whose output counts.

    A container of the classic builder that ends at once may lose its output on a busy engine.
    """
    return "; sleep 1" if backend == "classic" else ""


@contextmanager
def engine_26(containerd: bool) -> Generator[Engine]:
    """A fresh Engine 26, removed at the end with everything in it."""
    root = packages.unpacked()
    folder = Path(tempfile.mkdtemp(prefix="e26-"))
    address = f"unix://{folder}/docker.sock"
    config = {
        "hosts": [address],
        "data-root": f"{folder}/data",
        "exec-root": f"{folder}/x",
        "pidfile": f"{folder}/pid",
        "features": {"containerd-snapshotter": containerd},
    }
    (folder / "daemon.json").write_text(json.dumps(config))
    (folder / "tmp").mkdir()
    path = f"{root}/usr/sbin:{root}/usr/bin:{os.environ['PATH']}:/usr/sbin:/sbin"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*_ISOLATED.split(), "sh", "-c", _SCRIPT, folder / "daemon.json"],
            env=os.environ | {"PATH": path, "TMPDIR": f"{folder}/tmp"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        engine = _answering(address, process, folder / "log")
        _pids[address] = psutil.Process(process.pid).children()[0].pid
        yield engine
        engine.api.close()
    finally:
        _pids.pop(address, None)
        _end(process)
        shutil.rmtree(folder)


def _answering(address: str, process: subprocess.Popen[bytes], log: Path) -> Engine:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return connect(address, start=False)
        except EngineNotFound:
            time.sleep(0.1)
    raise RuntimeError("Engine 26 did not start:\n" + log.read_text()[-3000:])


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to dockerd, so that it ends its containers and their cgroups; the namespaces go with it."""
    for dockerd in psutil.Process(process.pid).children() if process.poll() is None else ():
        dockerd.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def copy_image(source: Engine, target: Engine, image: str) -> None:
    """Load an image of one engine into another."""
    with tempfile.TemporaryFile() as file:
        for chunk in source.api.get_image(image):
            file.write(chunk)
        file.seek(0)
        for line in target.api.load_image(file):
            assert "error" not in line, line


@contextmanager
def started(kind: str, running: Engine) -> Generator[Engine]:
    """An engine of `KINDS`; a further one gets diamol/base. Skips where this machine can't have it."""
    if kind == "running":
        yield running
        return
    if reason := packages.lacking():
        pytest.skip(reason)
    with engine_26(containerd=kind == "26-containerd") as engine:
        copy_image(running, engine, "diamol/base")
        yield engine
