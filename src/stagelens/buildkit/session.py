"""A BuildKit session: a gRPC server on a connection that the client opened to the engine.

`POST /session` (moby's session.Manager.HandleHTTPRequest) upgrades the connection. From then on the engine is
the HTTP/2 client, and calls the methods that the headers of the request listed.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from stagelens.buildkit.grpc import Handler, Server
from stagelens.buildkit.services import Health, SessionService
from stagelens.buildkit.transport import upgrade

if TYPE_CHECKING:
    from stagelens.buildkit.dockerpy import EngineApi


class Session:
    """An open session; use it as a context manager, or call `close`.

    Parameters
    ----------
    api
        The client of docker-py whose engine to connect to. The session opens a separate connection.
    services
        What the engine may call: FileSync, Auth, Secrets, SshAgents, Upload, FileSend.
    shared_key
        The key of the engine's cached copy of the context (see `shared_key`).

    Raises
    ------
    UpgradeRefused
        If the engine has no sessions.
    ConnectionLost
        If the engine does not answer.
    """

    def __init__(
        self, api: EngineApi, services: Iterable[SessionService] = (), *, shared_key: str = "stagelens"
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
        """The exceptions of the services; the engine saw only their text."""
        return self._server.errors

    def close(self) -> None:
        """End the session, its threads and its socket. A second call does nothing."""
        self._server.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def shared_key(context: Path) -> str:
    """Return the key of a context for the engine's cached copy of it.

    Parameters
    ----------
    context
        The folder; the same folder has the same key each time.
    """
    return (
        "stagelens-" + hashlib.sha256(str(context.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    )
