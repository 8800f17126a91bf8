"""Removing containers and networks from an engine that is too busy to remove them at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import docker
from docker.errors import APIError, NotFound

from stagelens import timeouts


def remove_container(api: docker.APIClient, container: str) -> None:
    """Remove a container, running or not, and its anonymous volumes.

    On a loaded machine, an engine refuses at first if a process takes long to end, or if another client
    removes the same container. Both are waited for. A container that does not exist is no error.

    Parameters
    ----------
    api
        The engine's client.
    container
        The container's name or id.

    Raises
    ------
    APIError
        If the container still exists after a quarter of a minute.
    """
    _remove(lambda: api.remove_container(container, force=True, v=True))


def remove_network(api: docker.APIClient, network: str) -> None:
    """Remove a network, and wait for a container in it that has just ended.

    A network that does not exist is no error.

    Parameters
    ----------
    api
        The engine's client.
    network
        The network's name or id.

    Raises
    ------
    APIError
        If a container uses the network.
    """
    _remove(lambda: api.remove_network(network), lambda: _in_use(api, network))


def _remove(remove: Callable[[], object], is_final: Callable[[], bool] = lambda: False) -> None:
    """Call `remove` until it succeeds; raise a refusal that `is_final`, or the last one."""
    for pause in (*timeouts.current.removal_pauses, None):
        try:
            remove()
        except NotFound:
            return
        except APIError:
            if pause is None or is_final():
                raise
            time.sleep(pause)
        else:
            return


def _in_use(api: docker.APIClient, network: str) -> bool:
    with suppress(NotFound):
        return bool(api.inspect_network(network).get("Containers"))
    return False
