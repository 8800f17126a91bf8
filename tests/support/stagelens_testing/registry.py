"""A registry (from Debian) on the loopback address of an engine's network: open, with login or tokens."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import bcrypt
import pytest
import trustme

from stagelens.engine import Engine
from stagelens_testing import engines, packages, tokens
from stagelens_testing.resources import PATIENCE

USER, PASSWORD = "learner", "right: ü"


Login = Literal["none", "password", "token"]


@dataclass(frozen=True)
class Registry:
    """A running registry.

    `address` is host:port as in an image's name, `log` the file of its output, and `tokens` that of the token
    server, with each request as `token METHOD USER SCOPES GRANTED`.
    """

    address: str
    log: Path
    login: Login
    tokens: Path

    def push(self, engine: Engine, image: str, name: str) -> str:
        """Push an image of `engine` as `name`, remove the tag, and return the full name."""
        full = f"{self.address}/{name}"
        engine.api.tag(image, full)
        try:
            login = {"username": USER, "password": PASSWORD} if self.login != "none" else {}
            for line in engine.api.push(full, stream=True, decode=True, auth_config=login):
                assert "error" not in line, line
        finally:
            engine.api.remove_image(full)
        return full

    def granted(self) -> list[str]:
        """List the scopes that the token server has granted, each with method and user."""
        return re.findall(r"^token (.*) True$", self.tokens.read_text(), re.MULTILINE)

    def requests(self) -> list[str]:
        """List the requests so far, each as `METHOD path status`."""
        found = re.findall(r'"(\S+) (\S+) HTTP/[\d.]+" (\d+) ', self.log.read_text())
        return [" ".join(parts) for parts in found]


@contextmanager
def registry(engine: Engine, login: Login = "none", tls: Path | None = None) -> Generator[Registry]:
    """Start a registry that `engine` reaches at 127.0.0.1, and remove it at the end.

    It listens in the engine's network namespace, which for the running engine is the machine's. With "token",
    a token server issues the tokens that it requires. `tls` is a folder with `server.pem`, `server-key.pem`
    and `clients.pem`, the CA of client certificates.
    """
    program = packages.unpack() / "usr/bin/docker-registry"
    with tempfile.TemporaryDirectory(prefix="registry-") as name, ExitStack() as running:
        folder = Path(name)
        http: dict[str, object] = {"addr": "127.0.0.1:0", "secret": secrets.token_hex()}
        config: dict[str, object] = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}},
            "http": http,
        }
        if tls is not None:
            files = {"certificate": f"{tls}/server.pem", "key": f"{tls}/server-key.pem"}
            http["tls"] = files | {"clientcas": [f"{tls}/clients.pem"]}
        if login == "password":
            password = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
            (folder / "users").write_text(f"{USER}:{password}\n")
            config["auth"] = {"htpasswd": {"realm": "tests", "path": f"{folder}/users"}}
        elif login == "token":
            config["auth"] = {"token": _token_server(engine, folder, running)}
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        command = [program, "serve", folder / "config.yml"]
        address = running.enter_context(_server(engine, command, folder / "log"))
        yield Registry(address, folder / "log", login, folder / "tokens")


def _token_server(engine: Engine, folder: Path, running: ExitStack) -> dict[str, str]:
    """Start a token server until `running` ends, and return its entry in a registry's configuration."""
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    leaf = authority.issue_cert("tokens.test", key_type=trustme.KeyType.RSA)
    authority.cert_pem.write_to_path(folder / "authority.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(folder / "chain.pem")
    command = [sys.executable, tokens.__file__, folder, USER, PASSWORD]
    address = running.enter_context(_server(engine, command, folder / "tokens"))
    return {
        "realm": f"http://{address}/token",
        "service": tokens.SERVICE,
        "issuer": tokens.ISSUER,
        "rootcertbundle": f"{folder}/authority.pem",
    }


@contextmanager
def _server(engine: Engine, command: list[str | Path], log: Path) -> Generator[str]:
    """Run a program that prints where it listens, and yield the address."""
    pid = engines.namespace_pid(engine)
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net"] if pid else []
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *inside, *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        time.sleep(0.02)
    raise RuntimeError("the server did not start:\n" + log.read_text()[-2000:])


@pytest.fixture(scope="session")
def open_registry(engine: Engine) -> Iterator[Registry]:
    """Start a registry that anybody may pull from and push to."""
    if reason := packages.unavailable_reason():
        pytest.skip(reason)
    with registry(engine) as found:
        yield found


@pytest.fixture(scope="session")
def login_registry(engine: Engine) -> Iterator[Registry]:
    """Start a registry that requires a login."""
    if reason := packages.unavailable_reason():
        pytest.skip(reason)
    with registry(engine, "password") as found:
        yield found


@pytest.fixture(scope="session")
def token_registry(engine: Engine) -> Iterator[Registry]:
    """Start a registry that requires tokens, which a login gets."""
    if reason := packages.unavailable_reason():
        pytest.skip(reason)
    with registry(engine, "token") as found:
        yield found
