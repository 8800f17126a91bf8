"""`stagelens up`, `status`, `logs` and `down`, run in a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stagelens.engine import Engine
from stagelens_course import apps

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "stagelens_course"]

pytestmark = [pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(1200)]


@pytest.fixture
def name(engine: Engine, unique: str) -> Iterator[str]:
    yield unique
    apps.down(engine, unique, images=True)


def stagelens(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=900
    )


def resources(engine: Engine, name: str) -> list[str]:
    containers = [row["Names"][0] for row in engine.api.containers(all=True)]
    return [thing for thing in [*containers, *(n["Name"] for n in engine.api.networks())] if name in thing]


def test_up_status_logs_and_down_work_together(engine: Engine, name: str) -> None:
    assert stagelens("status", "--as", name).returncode == 1
    started = stagelens("up", "--as", name)
    assert started.returncode == 0, started.stderr
    assert started.stdout.count("healthy") == 3
    assert started.stdout.count("http://127.0.0.1:") == 3

    done = stagelens("status", "--as", name, "--json")
    assert done.returncode == 0
    status = json.loads(done.stdout)
    assert status["network"] == f"nat-{name}"
    assert [(service["state"], service["health"]) for service in status["services"]] == [
        ("running", "healthy")
    ] * 3
    assert "listening on port 80" in stagelens("logs", "accesslog", "--as", name).stdout

    ended = stagelens("down", "--as", name, "--images")
    assert ended.returncode == 0
    for thing in (f"iotd-{name}", f"accesslog-{name}", f"image-gallery-{name}", f"nat-{name}"):
        assert thing in ended.stdout.replace("\n", " ")
    assert resources(engine, name) == []
    assert "nothing to remove" in stagelens("down", "--as", name).stdout


def test_missing_application_is_an_error_message(name: str) -> None:
    done = stagelens("logs", "iotd", "--as", name)
    assert done.returncode == 1
    assert f"There is no container called iotd-{name}." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_during_up_leaves_nothing(
    engine: Engine, name: str, number: signal.Signals, code: int
) -> None:
    command = [*COMMAND, "up", "--as", name]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=os.environ
    ) as process:
        assert process.stderr is not None
        assert any(line.startswith("starting iotd") for line in process.stderr)
        process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert resources(engine, name) == []
