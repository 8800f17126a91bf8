"""Pull a published image; fail soon if no registry answers."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import docker
import requests
import urllib3
from docker.auth import get_config_header, resolve_repository_name
from docker.errors import APIError, DockerException

from stagelens.buildkit import Cancel
from stagelens.buildkit.dockerpy import wake_reader
from stagelens.settings import Settings
from stagelens_course import timeouts
from stagelens_course.images.model import PullFailed

_REFUSALS = ("not found", "manifest unknown", "denied", "unauthorized", "no matching manifest")


def pull_image(
    api: docker.APIClient, name: str, tag: str, report: Callable[[str], None], cancel: Cancel
) -> None:
    """Pull an image, through STAGELENS_REGISTRY_MIRROR if it is set, and tag it.

    Parameters
    ----------
    api
        The engine's client.
    name
        The published image, without a tag.
    tag
        The name to give to the image on the engine.
    report
        Called with a line of progress.
    cancel
        Closes the connection when it is called, which makes the engine stop.

    Raises
    ------
    PullFailed
        If no registry answered in time, it refused, or `cancel` was called.
    """
    mirror = Settings().registry_mirror
    repository = f"{mirror.rstrip('/')}/{name}" if mirror else name
    _pull(api, repository, name, report, cancel)
    if repository != tag:
        try:
            api.tag(f"{repository}:latest", tag, "latest")
            api.remove_image(f"{repository}:latest", noprune=True)
        except DockerException as error:
            raise PullFailed(name, str(error)) from error


def _pull(
    api: docker.APIClient, repository: str, name: str, report: Callable[[str], None], cancel: Cancel
) -> None:
    query = {"fromImage": repository, "tag": "latest"}
    limits = timeouts.current
    silence = f"the registry did not answer within {limits.registry_first_event:.0f} seconds"
    started = time.monotonic()
    try:
        # The engine sends its first bytes, headers included, with the first progress event.
        client = cast(Any, api)
        response: requests.Response = client.post(
            client._url("/images/create"),
            params=query,
            headers=_credentials(api, repository),
            stream=True,
            timeout=limits.registry_first_event,
        )
        with contextlib.closing(response):
            if response.status_code >= 400:
                raise _refusal(name, response.text[:2000])
            with contextlib.suppress(AttributeError):
                client._get_raw_response_socket(response).settimeout(limits.registry_next_event)
            cancel.on_request(partial(_disconnect, response))
            for line in response.iter_lines():
                _handle_event(json.loads(line), name, report)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        timed_out = time.monotonic() - started >= limits.registry_first_event
        raise PullFailed(name, silence if timed_out else str(error), unreachable=True) from error
    except (APIError, ValueError) as error:
        raise PullFailed(name, str(error)) from error


def _disconnect(response: requests.Response) -> None:
    # The connection may be closed already.
    with contextlib.suppress(OSError, AttributeError):
        wake_reader(response)


def _handle_event(event: dict[str, Any], name: str, report: Callable[[str], None]) -> None:
    if "error" in event:
        raise _refusal(name, str(event["error"]))
    report(f"pulling {name} ({event.get('id', '')} {event.get('status', '')} {event.get('progress', '')})")


def _refusal(name: str, text: str) -> PullFailed:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["message"])
    return PullFailed(name, text, unreachable=not any(word in text.lower() for word in _REFUSALS))


def _credentials(api: docker.APIClient, repository: str) -> dict[str, str]:
    registry, _ = resolve_repository_name(repository)
    header = get_config_header(api, registry)
    return {"X-Registry-Auth": header.decode()} if header else {}
