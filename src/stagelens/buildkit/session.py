"""A BuildKit session: we are a gRPC server on a connection that we opened to the engine.

`POST /session` (moby's session.Manager.HandleHTTPRequest) upgrades the connection; from then on the engine
is the client on it and calls the methods that our headers listed.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import docker

from stagelens.buildkit.grpc import Handler, Server
from stagelens.buildkit.services import Health, SessionService
from stagelens.buildkit.transport import upgrade


class Session:
    """An open session; use it as a context manager, or call `close`.

    Parameters
    ----------
    api: docker-py's client; a connection of its own is opened through it.
    services: what the engine may call: FileSync, Auth, Secrets, SshAgents, Upload, FileSend.
    shared_key: keys the engine's kept copy of the context (see `shared_key`).

    Raises
    ------
    UpgradeRefused: the engine has no sessions.
    ConnectionLost: the engine cannot be reached.
    """

    def __init__(
        self, api: docker.APIClient, services: Iterable[SessionService] = (), *, shared_key: str = "stagelens"
    ) -> None:
        self.id = uuid.uuid4().hex
        methods: dict[str, Handler] = {}
        for service in (Health(), *services):
            methods |= service.methods()
        headers = [
            ("X-Docker-Expose-Session-Uuid", self.id),
            ("X-Docker-Expose-Session-Name", "stagelens"),
            ("X-Docker-Expose-Session-Sharedkey", shared_key),
            *(("X-Docker-Expose-Session-Grpc-Method", path) for path in methods),
        ]
        self._server = Server(upgrade(api, "/session", headers), methods)

    @property
    def sent_bytes(self) -> int:
        """Bytes of gRPC messages sent to the engine so far."""
        return self._server.sent_bytes

    @property
    def errors(self) -> list[BaseException]:
        """What our own services failed with; the engine saw only a text."""
        return self._server.errors

    def close(self) -> None:
        """End the session; no thread and no socket is left. Calling it again does nothing."""
        self._server.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def shared_key(context: Path) -> str:
    """The key under which the engine keeps this folder's last transfer: the same folder, the same key."""
    return (
        "stagelens-" + hashlib.sha256(str(context.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    )
