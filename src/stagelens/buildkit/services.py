"""The small services of a session: health, secrets, SSH agents and uploads."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import docker
from docker.auth import AuthConfig, resolve_index_name  # pyright: ignore[reportMissingTypeStubs]
from docker.errors import DockerException
from google.protobuf.message import Message

from stagelens.buildkit import dockerpy
from stagelens.buildkit.errors import BuildKitError, RpcError
from stagelens.buildkit.grpc import INTERNAL, NOT_FOUND, Handler, RpcStream
from stagelens.buildkit.proto.buildkit_pb2 import (
    BytesMessage,
    CheckAgentRequest,
    CredentialsRequest,
    CredentialsResponse,
    Empty,
    GetSecretRequest,
    GetSecretResponse,
    HealthCheckResponse,
)

_CHUNK_BYTES = 32 * 1024
MAX_SECRET_BYTES = 500 * 1024  # BuildKit's own limit, session/secrets


class SessionService(Protocol):
    """Something a session can serve."""

    def methods(self) -> Mapping[str, Handler]:
        """Handlers by gRPC path."""
        ...


def unary_handler(handler: Callable[[bytes], Message]) -> Handler:
    """A handler that takes one message and answers with one."""

    def run(stream: RpcStream) -> None:
        for message in stream.receive():
            stream.send(handler(message).SerializeToString())
            return

    return run


class Health:
    """Says that we live; the engine asks every few seconds and ends the session after failures."""

    def methods(self) -> dict[str, Handler]:
        """The gRPC methods to serve."""
        return {"/grpc.health.v1.Health/Check": unary_handler(lambda _: HealthCheckResponse(status=1))}


class Auth:
    """Answers with the credentials of one registry at a time.

    BuildKit can also let the client fetch a registry's tokens (GetTokenAuthority, VerifyTokenAuthority,
    FetchToken). That needs all three: where the first one is unimplemented, as here, it asks for
    credentials and fetches the token itself (util/resolver/authorizer.go), which every version can.
    """

    def __init__(self, api: docker.APIClient) -> None:
        self._config = cast(AuthConfig, dockerpy.auth_configs(api))

    def methods(self) -> dict[str, Handler]:
        """The gRPC methods to serve."""
        return {"/moby.filesync.v1.Auth/Credentials": unary_handler(self._credentials)}

    def _credentials(self, message: bytes) -> CredentialsResponse:
        host = CredentialsRequest.FromString(message).host
        # The engine knows Docker Hub by its registry's name, the config file by its old index address.
        name = "docker.io" if host in ("registry-1.docker.io", "index.docker.io") else host
        found: dict[str, Any] | None = None
        with contextlib.suppress(DockerException):  # a helper that fails: pull without login, as the CLI does
            found = self._config.resolve_authconfig(resolve_index_name(name))
        if not found:
            return CredentialsResponse()
        if token := found.get("IdentityToken") or found.get("identitytoken"):
            return CredentialsResponse(secret=token)
        user = found.get("Username") or found.get("username") or ""
        secret = found.get("Password") or found.get("password") or ""
        return CredentialsResponse(username=user, secret=secret)


@dataclass(frozen=True, slots=True)
class Env:
    """A secret in a variable of our own environment."""

    name: str


class Secrets:
    """Hands out secrets by id: bytes, or a file or a variable that is read when it is asked for.

    The values stay in this object: it has no representation that shows them.
    """

    def __init__(self, secrets: Mapping[str, bytes | Path | Env]) -> None:
        self._secrets = dict(secrets)
        self._lock = threading.Lock()
        self._served: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def methods(self) -> dict[str, Handler]:
        """The gRPC methods to serve."""
        return {"/moby.buildkit.secrets.v1.Secrets/GetSecret": unary_handler(self._get)}

    def mask(self, text: str) -> str:
        """`text` with `***` in place of each secret that was handed out, and of each line of one.

        Only what is as it was given is found, and nothing below four characters: hiding every "a" would
        hide the build's log.
        """
        return self._pattern.sub("***", text) if self._pattern else text

    def _get(self, message: bytes) -> GetSecretResponse:
        name = GetSecretRequest.FromString(message).id
        value = self._value(name)
        if len(value) > MAX_SECRET_BYTES:
            raise RpcError(INTERNAL, f"secret {name} is larger than {MAX_SECRET_BYTES} bytes")
        text = value.decode("utf-8", "replace")
        with self._lock:
            self._served |= {part for line in (text, *text.splitlines()) if len(part := line.strip()) >= 4}
            longest_first = sorted(self._served, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        return GetSecretResponse(data=value)

    def _value(self, name: str) -> bytes:
        value = self._secrets.get(name)
        if value is None:
            raise RpcError(NOT_FOUND, f"secret {name} not found")
        if isinstance(value, Env):
            if value.name not in os.environ:
                raise RpcError(NOT_FOUND, f"secret {name}: there is no variable {value.name}")
            return os.environ[value.name].encode("utf-8", "surrogateescape")
        if isinstance(value, Path):
            try:
                return value.read_bytes()
            except OSError as error:
                raise RpcError(NOT_FOUND, f"secret {name}: cannot read its file: {error.strerror}") from None
        return value


class SshAgents:
    """Forwards the steps' SSH connections to agents' unix sockets; the id "default" is the usual one.

    An empty path is that of SSH_AUTH_SOCK. Private keys belong into an agent first (`ssh-add`).

    Raises
    ------
    BuildKitError: there is no agent at a path.
    """

    def __init__(self, sockets: Mapping[str, str]) -> None:
        self._sockets = {name: path or os.environ.get("SSH_AUTH_SOCK", "") for name, path in sockets.items()}
        for name, path in self._sockets.items():
            if not path or not stat.S_ISSOCK(_mode(path)):
                raise BuildKitError(
                    f"There is no SSH agent for {name!r}.",
                    where=path or "SSH_AUTH_SOCK, which is not set",
                    why="a key is no agent" if _mode(path) else None,
                    remedy='start one: eval "$(ssh-agent)"; ssh-add',
                )

    def methods(self) -> dict[str, Handler]:
        """The gRPC methods to serve."""
        return {
            "/moby.sshforward.v1.SSH/CheckAgent": unary_handler(self._check),
            "/moby.sshforward.v1.SSH/ForwardAgent": self._forward,
        }

    def _path(self, name: str) -> str:
        path = self._sockets.get(name or "default")
        if path is None:
            raise RpcError(NOT_FOUND, f"unset ssh forward key {name or 'default'}")
        return path

    def _check(self, message: bytes) -> Empty:
        self._path(CheckAgentRequest.FromString(message).id)
        return Empty()

    def _forward(self, stream: RpcStream) -> None:
        path = self._path((stream.metadata.get("buildkit.ssh.id") or ["default"])[0])
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(2.0)
            agent.connect(path)
            agent.settimeout(None)
            back = threading.Thread(
                target=_pump_back, args=(agent, stream), name="stagelens-ssh", daemon=True
            )
            back.start()
            try:
                for message in stream.receive():
                    agent.sendall(BytesMessage.FromString(message).data)
                agent.shutdown(socket.SHUT_WR)
                back.join()
            finally:
                # A connection that was cut: shutting both ways wakes the other thread.
                with contextlib.suppress(OSError):
                    agent.shutdown(socket.SHUT_RDWR)
                back.join()


def _mode(path: str) -> int:
    with contextlib.suppress(OSError):
        return Path(path).stat().st_mode if path else 0
    return 0


def _pump_back(agent: socket.socket, stream: RpcStream) -> None:
    try:
        while data := agent.recv(_CHUNK_BYTES):
            stream.send(BytesMessage(data=data).SerializeToString())
    except (OSError, BuildKitError):
        return


class Upload:
    """Hands streams to the engine once each: a Dockerfile or a context that is not a folder."""

    def __init__(self) -> None:
        self._streams: dict[str, Iterator[bytes]] = {}

    def add(self, name: str, chunks: Iterator[bytes]) -> str:
        """Offer `chunks` under `name`; returns the address to give to the engine as `remote`."""
        self._streams[name] = chunks
        return f"http://buildkit-session/{name}"

    def methods(self) -> dict[str, Handler]:
        """The gRPC methods to serve."""
        return {"/moby.upload.v1.Upload/Pull": self._pull}

    def _pull(self, stream: RpcStream) -> None:
        name = (stream.metadata.get("urlpath") or [""])[0].rsplit("/", 1)[-1]
        chunks = self._streams.pop(name, None)
        if chunks is None:
            raise RpcError(NOT_FOUND, f"no http response from session for {name}")
        for chunk in chunks:
            stream.send(BytesMessage(data=chunk).SerializeToString(), flush=False)
