"""The internals of docker-py that this package needs and that have no public interface."""

from __future__ import annotations

import sys
from typing import Any, cast

import docker
import requests
import urllib3
from docker.errors import DockerException

# Exceptions of other libraries that docker-py does not translate, if it has imported them.
_FOREIGN = (("paramiko", "SSHException"), ("pywintypes", "error"))


def connection_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that a broken connection may raise, with any transport."""
    foreign = [getattr(sys.modules[module], name) for module, name in _FOREIGN if module in sys.modules]
    return (OSError, requests.RequestException, urllib3.exceptions.HTTPError, DockerException, *foreign)


def adapter(api: docker.APIClient) -> Any:
    """Return the requests adapter that connects to the engine."""
    return cast(Any, api.get_adapter(api.base_url))


def engine_address(api: docker.APIClient) -> str:
    """Return the engine's socket, pipe or URL; docker-py shows sockets and pipes as `http+docker://localhost`."""
    transport = adapter(api)
    return getattr(transport, "socket_path", None) or getattr(transport, "npipe_path", None) or api.base_url


def api_url(api: docker.APIClient, path: str) -> str:
    """Return the URL of an Engine API path, with the client's API version."""
    return cast(Any, api)._url(path)


def auth_configs(api: docker.APIClient) -> Any:
    """Return the client's `docker.auth.AuthConfig`: Docker's config file and its credential helpers."""
    return cast(Any, api)._auth_configs


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
