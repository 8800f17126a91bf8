"""The small services of a session: health, credentials, secrets, SSH agents and uploads."""

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
from typing import TYPE_CHECKING, Protocol

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

if TYPE_CHECKING:
    from stagelens.buildkit.dockerpy import EngineApi

_CHUNK_BYTES = 32 * 1024
MAX_SECRET_BYTES = 500 * 1024  # BuildKit's own limit, session/secrets


class SessionService(Protocol):
    """A service that a session can offer to the engine."""

    def methods(self) -> Mapping[str, Handler]:
        """Return the handlers by gRPC path."""
        ...


def unary_handler(handler: Callable[[bytes], Message]) -> Handler:
    """Return a handler that takes one message and answers with one."""

    def run(stream: RpcStream) -> None:
        for message in stream.receive():
            stream.send(handler(message).SerializeToString())
            return

    return run


class Health:
    """A health check: the engine calls it every few seconds and ends the session after failures."""

    def methods(self) -> dict[str, Handler]:
        """Return the gRPC methods to serve."""
        return {"/grpc.health.v1.Health/Check": unary_handler(lambda _: HealthCheckResponse(status=1))}


class Auth:
    """Credentials for the engine's pulls, from Docker's config file and its credential helpers.

    BuildKit can also let the client fetch a registry's tokens (GetTokenAuthority, VerifyTokenAuthority,
    FetchToken), with all three methods. If the first is unimplemented, as here, BuildKit asks for credentials
    and fetches the token itself (util/resolver/authorizer.go), in every version.

    Parameters
    ----------
    api
        The client of docker-py whose configuration to use.
    """

    def __init__(self, api: EngineApi) -> None:
        self._api = api

    def methods(self) -> dict[str, Handler]:
        """Return the gRPC methods to serve."""
        return {"/moby.filesync.v1.Auth/Credentials": unary_handler(self._credentials)}

    def _credentials(self, message: bytes) -> CredentialsResponse:
        host = CredentialsRequest.FromString(message).host
        # The engine names Docker Hub's registry, the config file its old index.
        name = "docker.io" if host in ("registry-1.docker.io", "index.docker.io") else host
        found = dockerpy.credentials(self._api, name)
        if not found:
            return CredentialsResponse()
        if token := found.get("IdentityToken") or found.get("identitytoken"):
            return CredentialsResponse(secret=token)
        user = found.get("Username") or found.get("username") or ""
        secret = found.get("Password") or found.get("password") or ""
        return CredentialsResponse(username=user, secret=secret)


@dataclass(frozen=True, slots=True)
class Env:
    """A secret in an environment variable.

    Attributes
    ----------
    name
        The variable, which is read when the engine asks for the secret.
    """

    name: str


class Secrets:
    """Secrets by id; this object has no representation that shows their values.

    Parameters
    ----------
    secrets
        The values by id: bytes, or a file or variable that is read when the engine asks for the secret.
    """

    def __init__(self, secrets: Mapping[str, bytes | Path | Env]) -> None:
        self._secrets = dict(secrets)
        self._lock = threading.Lock()
        self._served: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def methods(self) -> dict[str, Handler]:
        """Return the gRPC methods to serve."""
        return {"/moby.buildkit.secrets.v1.Secrets/GetSecret": unary_handler(self._get)}

    def mask(self, text: str) -> str:
        """Replace each secret that the engine received, and each line of one, by `***`.

        Finds unchanged copies only, and nothing shorter than four characters: to hide every "a" would hide
        the build's log.
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
                raise RpcError(NOT_FOUND, f"secret {name}: the variable {value.name} is not set")
            return os.environ[value.name].encode("utf-8", "surrogateescape")
        if isinstance(value, Path):
            try:
                return value.read_bytes()
            except OSError as error:
                raise RpcError(NOT_FOUND, f"secret {name}: cannot read its file: {error.strerror}") from None
        return value


class SshAgents:
    """SSH agents for the steps of a build. Add private keys to an agent first (`ssh-add`).

    Parameters
    ----------
    sockets
        The agents' Unix sockets by id; "default" is the usual id. An empty path means SSH_AUTH_SOCK.

    Raises
    ------
    BuildKitError
        If there is no agent at a path.
    """

    def __init__(self, sockets: Mapping[str, str]) -> None:
        self._sockets = {name: path or os.environ.get("SSH_AUTH_SOCK", "") for name, path in sockets.items()}
        for name, path in self._sockets.items():
            if not path or not stat.S_ISSOCK(_mode(path)):
                raise BuildKitError(
                    f"No SSH agent found for {name!r}.",
                    where=path or "SSH_AUTH_SOCK (not set)",
                    why="the path is not a socket; a key file is not an agent" if _mode(path) else None,
                    remedy='start one: eval "$(ssh-agent)"; ssh-add',
                )

    def methods(self) -> dict[str, Handler]:
        """Return the gRPC methods to serve."""
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
                # After a lost connection, a shutdown of both directions wakes the other thread.
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
    """Streams that the engine receives once each: a Dockerfile or a context that is not a folder."""

    def __init__(self) -> None:
        self._streams: dict[str, Iterator[bytes]] = {}

    def add(self, name: str, chunks: Iterator[bytes]) -> str:
        """Offer a stream to the engine.

        Parameters
        ----------
        name
            The name of the stream in its address.
        chunks
            The content.

        Returns
        -------
        str
            The address to give to the engine as `remote`.
        """
        self._streams[name] = chunks
        return f"http://buildkit-session/{name}"

    def methods(self) -> dict[str, Handler]:
        """Return the gRPC methods to serve."""
        return {"/moby.upload.v1.Upload/Pull": self._pull}

    def _pull(self, stream: RpcStream) -> None:
        name = (stream.metadata.get("urlpath") or [""])[0].rsplit("/", 1)[-1]
        chunks = self._streams.pop(name, None)
        if chunks is None:
            raise RpcError(NOT_FOUND, f"no http response from session for {name}")
        for chunk in chunks:
            stream.send(BytesMessage(data=chunk).SerializeToString(), flush=False)
