"""The three applications of chapter 4, built from their Dockerfiles and run on a separate network."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from docker.errors import APIError, NotFound
from stagelens_testing.resources import PATIENCE

from stagelens.builds import build
from stagelens.engine import Engine, remove_container, remove_network
from stagelens_course.images import ensure

EXERCISES = Path(__file__).parents[3] / "ch04" / "exercises"
APPS = ("image-of-the-day", "access-log", "image-gallery")
LABEL = "stagelens.test"


@dataclass(frozen=True)
class App:
    """A running container and the URL of its published port 80."""

    engine: Engine
    name: str
    url: str

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=30, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return requests.post(self.url + path, timeout=30, **options)

    def logs(self) -> str:
        return self.engine.api.logs(self.name).decode()

    def running(self) -> bool:
        return bool(self.engine.api.inspect_container(self.name)["State"]["Running"])

    def stop(self) -> int:
        """Send SIGTERM, and SIGKILL long after; return the exit code (137 is SIGKILL's)."""
        self.engine.api.stop(self.name, timeout=round(PATIENCE))
        return int(self.engine.api.inspect_container(self.name)["State"]["ExitCode"])


class Town:
    """A network; `start` puts a container on it under an alias and waits until it answers."""

    def __init__(self, engine: Engine, images: dict[str, str]) -> None:
        self._engine, self._api, self._images = engine, engine.api, images
        self._name = f"sltest-apps-{secrets.token_hex(4)}"
        self._api.create_network(self._name, labels={LABEL: self._name})

    def start(
        self,
        image: str,
        alias: str,
        *,
        environment: dict[str, str] | None = None,
        command: list[str] | None = None,
        ready: str = "/health",
    ) -> App:
        """Run one of the three applications, or any image, published on a free port of 127.0.0.1."""
        api, name = self._api, f"{self._name}-{alias}"
        host = api.create_host_config(port_bindings={80: ("127.0.0.1", None)})
        endpoints = {self._name: api.create_endpoint_config(aliases=[alias])}
        api.create_container(
            self._images.get(image, image),
            command,
            name=name,
            environment=environment,
            ports=[80],
            host_config=host,
            networking_config=api.create_networking_config(endpoints),
            labels={LABEL: self._name},
        )
        api.start(name)
        port = api.inspect_container(name)["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
        app = App(self._engine, name, f"http://127.0.0.1:{port}")
        wait_for(lambda: app.get(ready).ok, app)
        return app

    def close(self) -> None:
        for row in self._api.containers(all=True, filters={"label": f"{LABEL}={self._name}"}):
            remove_container(self._api, row["Id"])
        remove_network(self._api, self._name)


def wait_for(condition: Callable[[], bool], app: App, seconds: float = PATIENCE) -> None:
    """Wait until `condition` holds; a container that ended fails at once, with its logs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(requests.RequestException):
            if condition():
                return
        if not app.running():
            break
        time.sleep(0.1)
    pytest.fail(f"{app.name} never got ready:\n{app.logs()}")


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this never came true"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def images(engine: Engine) -> Iterator[dict[str, str]]:
    """Build the three images as in the chapter; return their tags by the names of their folders."""
    ensure(engine)
    prefix = f"sltest-apps-{secrets.token_hex(4)}"
    tags = {app: f"{prefix}/{app}" for app in APPS}
    try:
        for app, tag in tags.items():
            build(EXERCISES / app, tags=[tag], engine=engine)
        yield tags
    finally:
        for tag in tags.values():
            with suppress(NotFound, APIError):
                engine.api.remove_image(tag)


@pytest.fixture
def town(engine: Engine, images: dict[str, str]) -> Iterator[Town]:
    """Make an empty network for one test."""
    made = Town(engine, images)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def shared_town(engine: Engine, images: dict[str, str]) -> Iterator[Town]:
    """Make a network for containers that several tests of a module share."""
    made = Town(engine, images)
    try:
        yield made
    finally:
        made.close()
