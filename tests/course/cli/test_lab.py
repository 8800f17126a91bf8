"""`stagelens lab --no-browser` starts a real JupyterLab, which needs its token."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from stagelens_testing.resources import PATIENCE, free_port, has_ended

from stagelens.engine import Engine
from stagelens_course.cli import lab
from stagelens_course.images import ensure

ROOT = Path(__file__).parents[3]


def status(address: str) -> int:
    """Return the HTTP status; the address is printed a moment before the server listens."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:  # the server does not listen yet
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@pytest.mark.engine
@pytest.mark.parametrize(("number", "busy"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_lab_prints_the_lessons_address_and_jupyter_ends_with_it(
    engine: Engine, number: signal.Signals, busy: bool, tmp_path: Path
) -> None:
    ensure(engine, ["diamol/base"])
    port = wanted = free_port()
    other = socket.create_server(("127.0.0.1", port)) if busy else None
    command = [sys.executable, "-m", "stagelens_course", "lab", "--no-browser", "--port", str(port)]
    environment = os.environ | {"DOCKER_HOST": engine.address, "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    process = subprocess.Popen(
        command, cwd="/", env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\S+", line) for line in process.stderr)))
        address = found.group()
        # If the port is busy, the address has the next free one.
        port = urlsplit(address).port or 0
        assert (port == wanted) is not busy
        assert "/lab/tree/notebooks/en/01-multi-stage.ipynb?token=" in address
        assert status(address) == 200
        with urllib.request.urlopen(address, timeout=30) as page:
            assert b'"news": {"disabled": true}' in page.read()
        assert status(f"http://127.0.0.1:{port}/api/contents") == 403
        # Nothing listens on other addresses than the loopback.
        assert listening_on(port) == {"127.0.0.1"}
        # A terminal there finds the commands that the lessons name.
        (jupyter,) = psutil.Process(process.pid).children()
        assert jupyter.environ()["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
        assert listening_on(port) == set()
    finally:
        if other is not None:
            other.close()
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE)


def test_interrupt_while_jupyter_starts_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(command, **options))
        os.kill(os.getpid(), signal.SIGINT)
        return started[-1]

    monkeypatch.setattr(lab, "subprocess", SimpleNamespace(Popen=interrupted))
    code = lab._serve(["sleep", "600"], Path.cwd(), dict(os.environ))
    still = not has_ended(started[0].pid)
    started[0].kill()
    assert (code, still) == (-signal.SIGTERM, False)


def test_signal_that_jupyter_loses_is_sent_again(set_timeouts: Callable[..., None]) -> None:
    set_timeouts(jupyter_end=0.2)
    script = "trap 'trap - TERM' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert lab._end(process) == -signal.SIGTERM


def listening_on(port: int) -> set[str]:
    """Return the addresses with a listener at a port, from /proc/net/tcp and tcp6."""
    found: set[str] = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            host, _, number = local.rpartition(":")
            if state == "0A" and int(number, 16) == port:
                found.add("127.0.0.1" if host == "0100007F" else host)
    return found


def test_missing_notebook_is_an_error_message() -> None:
    command = [sys.executable, "-m", "stagelens_course", "lab", "none.ipynb"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no such lesson" in done.stderr
    assert "next: choose one of: 01-multi-stage, " in done.stderr
