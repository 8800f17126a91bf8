"""Engine 26 beside the running engine, with the classic or the containerd image store."""

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
from stagelens_testing.resources import PATIENCE

KINDS = ("running", "26-classic", "26-containerd")
# Separate namespaces end with the engine: network (else it would change the first engine's firewall rules),
# mounts and processes. With a separate /run it does not find the machine's containerd. `setpriv` ends it
# together with a killed test run.
_ISOLATED = "setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc"
_SCRIPT = 'mount -t tmpfs none /run && ip link set lo up && exec dockerd --config-file="$0/daemon.json"'
_REMAP = 'mount --bind "$0/ids" /etc/subuid && mount --bind "$0/ids" /etc/subgid && '


def namespace_pid(engine: Engine) -> int | None:
    """Return a process in the network namespace of an engine of the tests, or None for the running engine."""
    return _pids.get(engine.address)


_pids: dict[str, int] = {}


def output_delay(backend: str) -> str:
    """Return the end of a RUN command whose output a test needs.

    With the classic builder on a busy engine, a container that ends at once may lose its output.
    """
    return "; sleep 1" if backend == "classic" else ""


@contextmanager
def engine_26(containerd: bool, *, remap: bool = False) -> Generator[Engine]:
    """Start a new Engine 26, and remove it at the end with everything in it.

    With `remap`, its containers run in a user namespace whose root is user 100000 of this machine.
    """
    root = packages.unpack()
    folder = Path(tempfile.mkdtemp(prefix="e26-"))
    address = f"unix://{folder}/docker.sock"
    config = {
        "hosts": [address],
        "data-root": f"{folder}/data",
        "exec-root": f"{folder}/x",
        "pidfile": f"{folder}/pid",
        "features": {"containerd-snapshotter": containerd},
    }
    if remap:
        config["userns-remap"] = "daemon"
        for each in (folder, folder.parent):  # user 100000 has to reach the layers
            each.chmod(each.stat().st_mode | 0o011)
        (folder / "ids").write_text("daemon:100000:65536\n")
    (folder / "daemon.json").write_text(json.dumps(config))
    (folder / "tmp").mkdir()
    path = f"{root}/usr/sbin:{root}/usr/bin:{os.environ['PATH']}:/usr/sbin:/sbin"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*_ISOLATED.split(), "sh", "-c", (_REMAP if remap else "") + _SCRIPT, folder],
            env=os.environ | {"PATH": path, "TMPDIR": f"{folder}/tmp"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        engine = _connect(address, process, folder / "log")
        _pids[address] = psutil.Process(process.pid).children()[0].pid
        yield engine
        engine.api.close()
    finally:
        _pids.pop(address, None)
        _end(process)
        shutil.rmtree(folder)


def _connect(address: str, process: subprocess.Popen[bytes], log: Path) -> Engine:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return connect(address, start=False)
        except EngineNotFound:
            time.sleep(0.1)
    raise RuntimeError("Engine 26 did not start:\n" + log.read_text()[-3000:])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to dockerd, which ends its containers and their cgroups; the namespaces end with it."""
    for dockerd in psutil.Process(process.pid).children() if process.poll() is None else ():
        dockerd.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def copy_image(source: Engine, target: Engine, image: str) -> None:
    """Copy an image from one engine to another."""
    with tempfile.TemporaryFile() as file:
        for chunk in source.api.get_image(image):
            file.write(chunk)
        file.seek(0)
        for line in target.api.load_image(file):
            assert "error" not in line, line


@contextmanager
def start(kind: str, running: Engine) -> Generator[Engine]:
    """Provide an engine of `KINDS` with diamol/base, or skip the test if this machine cannot run it."""
    if kind == "running":
        yield running
        return
    if reason := packages.unavailable_reason():
        pytest.skip(reason)
    with engine_26(containerd=kind == "26-containerd") as engine:
        copy_image(running, engine, "diamol/base")
        yield engine
