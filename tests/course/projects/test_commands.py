"""The chapter's commands, run unchanged with the docker CLI in each application's folder."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from stagelens_testing.resources import engine_is_exclusive

from stagelens.engine import Engine, remove_container, remove_network
from stagelens_course.images import ensure

from .conftest import EXERCISES, wait_until
from .test_dockerfiles import COMMANDS

pytestmark = [pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(1200)]

NAMES = ("image-of-the-day", "access-log", "image-gallery", "nat", "iotd", "accesslog")
# Only on an engine that the test run started, names and ports are those of the chapter.
OWN = engine_is_exclusive()


def cli() -> tuple[str, dict[str, str]]:
    """Return a docker CLI and its variables; one that builds with BuildKit is preferred."""
    found = [shutil.which("docker", path=folder) for folder in os.environ["PATH"].split(os.pathsep)]
    programs = [program for program in dict.fromkeys(found) if program]
    assert programs, "this test needs the docker CLI"
    for program in programs:
        ask = [program, "version", "--format", "{{.Client.Version}}"]
        version = subprocess.run(ask, capture_output=True, text=True, check=False).stdout
        buildx = subprocess.run([program, "buildx", "version"], capture_output=True, check=False)
        # From version 23 on, BuildKit needs the buildx plugin.
        if buildx.returncode == 0 or 18 < int(version.partition(".")[0] or 0) < 23:
            return program, {"DOCKER_BUILDKIT": "1"}
    return programs[0], {"DOCKER_BUILDKIT": "0"}


def words(command: str, unique: str) -> list[str]:
    """Return a command's words; on a shared engine with unique names and free ports."""
    if OWN:
        return shlex.split(command)
    found = [f"{unique}-{word}" if word in NAMES else word for word in shlex.split(command)]
    return ["127.0.0.1::80" if word.endswith(":80") else word for word in found]


class Terminal:
    """The docker CLI, with a record of what its commands made, to remove exactly that."""

    def __init__(self, engine: Engine, unique: str) -> None:
        self.engine, self._unique = engine, unique
        self._program, variables = cli()
        self._environment = os.environ | variables | {"DOCKER_HOST": engine.address}
        self._containers: list[str] = []
        self._networks: list[str] = []
        self._images: list[str] = []

    def type(self, folder: Path, command: str) -> str:
        """Run a command of the chapter in a folder, and return the last line that it printed."""
        _, verb, *rest = arguments = words(command, self._unique)
        output = self.docker(folder, *arguments[1:]).rpartition("\n")[2]
        if verb == "run":
            self._containers.append(output)
        elif verb == "network":
            self._networks.append(output)
        else:
            self._images.append(rest[rest.index("-t") + 1])
        return output

    def docker(self, folder: Path, *arguments: str) -> str:
        command = [self._program, *arguments]
        done = subprocess.run(
            command, cwd=folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
        return done.stdout.strip()

    def clear(self) -> None:
        for container in self._containers:
            remove_container(self.engine.api, container)
        for network in self._networks:
            remove_network(self.engine.api, network)
        for image in self._images:
            self.engine.api.remove_image(image)


@pytest.fixture
def terminal(engine: Engine, unique: str) -> Iterator[Terminal]:
    ensure(engine)
    made = Terminal(engine, unique)
    try:
        yield made
    finally:
        made.clear()


def test_chapters_commands_build_and_run_all_applications(terminal: Terminal) -> None:
    urls: dict[str, str] = {}
    done: set[str] = set()
    for application, commands in COMMANDS.items():
        container = ""
        for command in commands:
            # Each folder's notes start with the network, which is made only once.
            if command not in done:
                container = terminal.type(EXERCISES / application, command)
                done.add(command)
        output = terminal.docker(EXERCISES, "port", container, "80").splitlines()[0]
        urls[application] = f"http://127.0.0.1:{output.rpartition(':')[2]}"
        wait_until(functools.partial(answers, terminal.engine, container, urls[application]))

    assert requests.get(urls["image-of-the-day"] + "/image", timeout=30).json()["caption"]
    assert requests.get(urls["access-log"] + "/stats", timeout=30).json() == {"count": 0}
    page = requests.get(urls["image-gallery"], timeout=30)
    assert page.status_code == 200
    if OWN:
        assert urls["image-gallery"].endswith(":802")
        assert "1 visit so far" in page.text


def answers(engine: Engine, container: str, url: str) -> bool:
    state = engine.api.inspect_container(container)["State"]
    assert state["Running"], engine.api.logs(container).decode()
    try:
        return requests.get(url + "/health", timeout=5).ok
    except requests.RequestException:
        return False
