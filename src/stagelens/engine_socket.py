"""Requests to an engine on a Unix socket, with the standard library alone.

docker-py reaches every engine in every way, but importing it takes longer than a cached build. A build on a
local engine sends a few requests, and this module sends them.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
from collections.abc import Container, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

_CHUNK_BYTES = 64 * 1024


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except BaseException:
            self.sock.close()
            raise


class EngineAnswer:
    """An answer whose body is read piece by piece; call `close` at its end."""

    def __init__(self, connection: http.client.HTTPConnection, sock: socket.socket) -> None:
        self._connection, self._socket = connection, sock
        self._response = connection.getresponse()
        self.status = self._response.status
        self.headers: Container[str] = self._response.headers

    def read(self) -> bytes:
        """Return the rest of the body."""
        return self._response.read()

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        while chunk := self._response.read1(_CHUNK_BYTES):
            yield chunk

    def wake_reader(self) -> None:
        """End the connection, which wakes a thread that reads from it."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        self._connection.close()


class EngineSocket:
    """An engine on a Unix socket.

    Parameters
    ----------
    address
        The address, `unix://PATH`.
    api_version
        The version of the Engine API to use; without one, requests have no version.
    """

    def __init__(self, address: str, api_version: str = "") -> None:
        self.address = address
        self.api_version = api_version
        self._path = "/" + address.removeprefix("unix://").lstrip("/")

    @staticmethod
    def supports(address: str) -> bool:
        """Return whether an address is a Unix socket that this system can reach."""
        return address.startswith("unix://") and sys.platform != "win32"

    def dial(self, timeout: float) -> socket.socket:
        """Open a connection.

        Raises
        ------
        OSError
            If nothing listens on the socket.
        """
        connection = _Connection(self._path, timeout)
        connection.connect()
        return connection.sock

    def get(self, path: str, timeout: float) -> Any:
        """Return the JSON value at a path of the Engine API; None if the status is not 200.

        Raises
        ------
        OSError, HTTPException, ValueError
            If the engine does not answer, or not with HTTP or JSON.
        """
        answer = self._request("GET", path, {}, timeout, timeout)
        try:
            body = answer.read()
            return json.loads(body) if answer.status == 200 else None
        finally:
            answer.close()

    def post(
        self,
        path: str,
        query: Mapping[str, Any],
        headers: Mapping[str, str],
        timeout: float,
        read_timeout: float | None,
    ) -> EngineAnswer:
        """Send a POST request without a body, and return the answer as soon as its headers are there.

        Parameters
        ----------
        path
            The path of the Engine API, without the version.
        query
            The query parameters; a list is a parameter that is repeated.
        headers
            The request's headers.
        timeout
            Seconds to wait for the connection.
        read_timeout
            Seconds to wait for each part of the answer.

        Raises
        ------
        OSError, HTTPException
            If the engine does not answer, or not with HTTP.
        """
        return self._request("POST", f"{path}?{urlencode(query, doseq=True)}", headers, timeout, read_timeout)

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        timeout: float,
        read_timeout: float | None,
    ) -> EngineAnswer:
        version = f"/v{self.api_version}" if self.api_version else ""
        connection = _Connection(self._path, timeout)
        connection.connect()
        sock = connection.sock
        try:
            sock.settimeout(read_timeout)
            connection.request(method, version + path, headers=dict(headers))
            return EngineAnswer(connection, sock)
        except BaseException:
            connection.close()
            raise
