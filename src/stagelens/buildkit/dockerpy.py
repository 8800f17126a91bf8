"""What we use of docker-py's inside, in one place: it has no public way to any of it."""

from __future__ import annotations

import sys
from typing import Any, cast

import docker
import requests
import urllib3
from docker.errors import DockerException

# What docker-py lets through of the libraries under it, where it has imported them.
_THEIRS = (("paramiko", "SSHException"), ("pywintypes", "error"))


def connection_errors() -> tuple[type[Exception], ...]:
    """What a broken connection may surface as, whatever the transport."""
    theirs = [getattr(sys.modules[module], name) for module, name in _THEIRS if module in sys.modules]
    return (OSError, requests.RequestException, urllib3.exceptions.HTTPError, DockerException, *theirs)


def adapter(api: docker.APIClient) -> Any:
    """The requests adapter that reaches the engine."""
    return cast(Any, api.get_adapter(api.base_url))


def engine_address(api: docker.APIClient) -> str:
    """Where the engine is: any socket or pipe is `http+docker://localhost` to docker-py itself."""
    own = adapter(api)
    return getattr(own, "socket_path", None) or getattr(own, "npipe_path", None) or api.base_url


def api_url(api: docker.APIClient, path: str) -> str:
    """The address of an Engine API path, with the client's API version."""
    return cast(Any, api)._url(path)


def auth_configs(api: docker.APIClient) -> Any:
    """The client's `docker.auth.AuthConfig`: docker's config file and its credential helpers."""
    return cast(Any, api)._auth_configs


def raise_for_status(api: docker.APIClient, response: requests.Response) -> None:
    """Raise docker-py's APIError for a status of 400 and more."""
    cast(Any, api)._raise_for_status(response)


def wake_reader(response: requests.Response) -> None:
    """End the connection under a streamed response, so that a thread that reads it wakes up."""
    file = response.raw._fp.fp
    channel = getattr(file, "channel", None)
    if channel is None:
        # A socket's file, or that of a Windows pipe.
        (getattr(file.raw, "_sock", None) or file.raw.sock).shutdown(2)
    elif (process := getattr(channel, "proc", None)) is not None:
        process.terminate()
    else:
        channel.close()
