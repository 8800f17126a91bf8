"""What we use of docker-py's inside, in one place: it has no public way to any of it."""

from __future__ import annotations

from typing import Any, cast

import docker
import requests


def adapter(api: docker.APIClient) -> Any:
    """The requests adapter that reaches the engine."""
    return cast(Any, api.get_adapter(api.base_url))


def url(api: docker.APIClient, path: str) -> str:
    """The address of an Engine API path, with the client's API version."""
    return cast(Any, api)._url(path)


def auth_configs(api: docker.APIClient) -> Any:
    """The client's `docker.auth.AuthConfig`: docker's config file and its credential helpers."""
    return cast(Any, api)._auth_configs


def raise_for_status(api: docker.APIClient, response: requests.Response) -> None:
    """Raise docker-py's APIError for a status of 400 and more."""
    cast(Any, api)._raise_for_status(response)


def wake_reader(response: requests.Response) -> None:
    """Shut the connection under a streamed response, so that a thread that reads it wakes up."""
    response.raw._fp.fp.raw._sock.shutdown(2)
