"""Requests to the engine of a client: docker-py's, whose internals this module knows, or an `EngineSocket`.

docker-py and requests are imported only for a client of docker-py, whose caller has imported them already.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
from collections.abc import Container, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from stagelens.engine_socket import EngineSocket

if TYPE_CHECKING:
    import docker
    import requests

    EngineApi = docker.APIClient | EngineSocket

# Exceptions of packages that one of the transports may have imported.
_FOREIGN = (
    ("requests", "RequestException"),
    ("urllib3.exceptions", "HTTPError"),
    ("docker.errors", "DockerException"),
    ("paramiko", "SSHException"),
    ("pywintypes", "error"),
)


class Answer(Protocol):
    """The answer to a request."""

    status: int
    headers: Container[str]

    def read(self) -> bytes:
        """Return the rest of the body."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        ...

    def wake_reader(self) -> None:
        """End the connection, which wakes a thread that reads from it."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class _DockerPyAnswer:
    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Container[str] = response.headers

    def read(self) -> bytes:
        return self._response.content

    def chunks(self) -> Iterator[bytes]:
        return self._response.raw.stream(64 * 1024, decode_content=False)

    def wake_reader(self) -> None:
        wake_reader(self._response)

    def close(self) -> None:
        self._response.close()


def connection_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that a broken connection may raise, with any transport."""
    foreign = [getattr(sys.modules[module], name) for module, name in _FOREIGN if module in sys.modules]
    return (OSError, http.client.HTTPException, *foreign)


def post(
    api: EngineApi,
    path: str,
    query: Mapping[str, Any],
    *,
    body: Iterator[bytes] | IO[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 20,
    read_timeout: float | None = None,
) -> Answer:
    """Send a POST request to the Engine API, and return the answer as soon as its headers are there."""
    if isinstance(api, EngineSocket):
        if body is not None:
            raise TypeError("an EngineSocket sends no bodies; use a client of docker-py")
        return api.post(path, query, headers or {}, timeout, read_timeout)
    response = api.post(
        api_url(api, path),
        params=query,
        data=body if body is not None else b"",
        headers=headers,
        stream=True,
        timeout=(timeout, read_timeout),
    )
    return _DockerPyAnswer(response)


def dial(api: EngineApi, timeout: float) -> Any:
    """Open a new connection to the engine, and return its socket."""
    if isinstance(api, EngineSocket):
        return api.dial(timeout)
    import requests

    transport = adapter(api)
    request = requests.Request("POST", api.base_url).prepare()
    pool = transport.get_connection_with_tls_context(request, api.verify, cert=api.cert)
    connection = pool._new_conn()  # a pooled connection may have unread bytes
    connection.timeout = timeout
    connection.connect()
    return connection.sock


def adapter(api: docker.APIClient) -> Any:
    """Return the requests adapter that connects to the engine."""
    return cast(Any, api.get_adapter(api.base_url))


def engine_address(api: EngineApi) -> str:
    """Return the engine's socket, pipe or URL; docker-py shows sockets and pipes as `http+docker://localhost`."""
    if isinstance(api, EngineSocket):
        return api.address
    transport = adapter(api)
    return getattr(transport, "socket_path", None) or getattr(transport, "npipe_path", None) or api.base_url


def api_url(api: docker.APIClient, path: str) -> str:
    """Return the URL of an Engine API path, with the client's API version."""
    return cast(Any, api)._url(path)


def auth_configs(api: EngineApi) -> Any:
    """Return the client's `docker.auth.AuthConfig`: Docker's config file and its credential helpers."""
    if isinstance(api, EngineSocket):
        from docker import auth

        return auth.load_config()
    return cast(Any, api)._auth_configs


def credentials(api: EngineApi, registry: str) -> Mapping[str, Any] | None:
    """Return the login for a registry, as in Docker's config file; None if there is none.

    A helper that fails counts as no login, as with the docker command.
    """
    from docker.auth import resolve_index_name  # pyright: ignore[reportMissingTypeStubs]
    from docker.errors import DockerException

    with contextlib.suppress(DockerException):
        return auth_configs(api).resolve_authconfig(resolve_index_name(registry))
    return None


def error_message(answer: Answer) -> str:
    """Return what the engine says in an answer with an error status."""
    body = answer.read()
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:2000].decode("utf-8", "replace")


def raise_for_status(api: docker.APIClient, response: requests.Response) -> None:
    """Raise docker-py's APIError for a status of 400 or more."""
    cast(Any, api)._raise_for_status(response)


def wake_reader(response: requests.Response) -> None:
    """End the connection below a streamed response, which wakes a thread that reads it."""
    file = response.raw._fp.fp
    channel = getattr(file, "channel", None)
    if channel is None:
        # The file of a socket or of a Windows pipe.
        (getattr(file.raw, "_sock", None) or file.raw.sock).shutdown(2)
    elif (process := getattr(channel, "proc", None)) is not None:
        process.terminate()
    else:
        channel.close()
