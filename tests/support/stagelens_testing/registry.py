"""A registry on loopback (Debian's docker-registry), open or with a login, in an engine's own network."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest

from stagelens.engine import Engine
from stagelens_testing import engines, packages

USER, PASSWORD = "learner", "right: ü"
_SECONDS = 30


@dataclass(frozen=True)
class Registry:
    """A running registry; `address` is host:port as an image's name has it, `log` what it prints."""

    address: str
    log: Path
    login: bool

    def push(self, engine: Engine, image: str, name: str) -> str:
        """Put an image of `engine` here under `name`; returns its full name. The engine keeps no such tag."""
        full = f"{self.address}/{name}"
        engine.api.tag(image, full)
        try:
            login = {"username": USER, "password": PASSWORD} if self.login else {}
            for line in engine.api.push(full, stream=True, decode=True, auth_config=login):
                assert "error" not in line, line
        finally:
            engine.api.remove_image(full)
        return full

    def requests(self) -> list[str]:
        """The requests so far, each as `METHOD path status`."""
        found = re.findall(r'"(\S+) (\S+) HTTP/[\d.]+" (\d+) ', self.log.read_text())
        return [" ".join(parts) for parts in found]


@contextmanager
def registry(engine: Engine, login: bool = False) -> Generator[Registry]:
    """Start a registry that `engine` reaches as 127.0.0.1; everything of it goes at the end.

    It listens in the network namespace of the engine: this machine's own where that is the running one.
    """
    program = packages.unpacked() / "usr/bin/docker-registry"
    with tempfile.TemporaryDirectory(prefix="registry-") as name:
        folder = Path(name)
        config: dict[str, object] = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}},
            "http": {"addr": "127.0.0.1:0", "secret": secrets.token_hex()},
        }
        if login:
            password = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
            (folder / "users").write_text(f"{USER}:{password}\n")
            config["auth"] = {"htpasswd": {"realm": "tests", "path": f"{folder}/users"}}
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        pid = engines.pid_of(engine)
        inside = ["nsenter", f"--net=/proc/{pid}/ns/net"] if pid else []
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *inside, program, "serve", folder / "config.yml"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield Registry(_address(process, folder / "log"), folder / "log", login)
        finally:
            process.terminate()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        time.sleep(0.02)
    raise RuntimeError("the registry did not start:\n" + log.read_text()[-2000:])


@pytest.fixture(scope="session")
def open_registry(engine: Engine) -> Iterator[Registry]:
    """A registry beside the running engine that anybody may pull from and push to."""
    if reason := packages.lacking():
        pytest.skip(reason)
    with registry(engine) as found:
        yield found


@pytest.fixture(scope="session")
def login_registry(engine: Engine) -> Iterator[Registry]:
    """A registry beside the running engine that wants a login."""
    if reason := packages.lacking():
        pytest.skip(reason)
    with registry(engine, login=True) as found:
        yield found
