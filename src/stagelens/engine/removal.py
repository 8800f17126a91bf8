"""Removing from an engine what a busy one does not give up at the first word."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import docker
from docker.errors import APIError, NotFound

_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds


def remove_container(api: docker.APIClient, container: str) -> None:
    """Remove a container that may run, and its anonymous volumes; it may be gone already.

    An engine on a loaded machine refuses at first where a process takes long to end, and where somebody else
    removes it as well: then this waits for that.

    Raises
    ------
    APIError: it is still there after a quarter of a minute.
    """
    _remove(lambda: api.remove_container(container, force=True, v=True))


def remove_network(api: docker.APIClient, network: str) -> None:
    """Remove a network; it may be gone already. One whose last container has just ended is waited for.

    Raises
    ------
    APIError: a container uses it.
    """
    _remove(lambda: api.remove_network(network), lambda: _in_use(api, network))


def _remove(remove: Callable[[], object], stays: Callable[[], bool] = lambda: False) -> None:
    """Call `remove` until the thing is gone; a refusal is raised where it `stays`, or in the end."""
    for pause in (*_PAUSES, None):
        try:
            remove()
        except NotFound:
            return
        except APIError:
            if pause is None or stays():
                raise
            time.sleep(pause)
        else:
            return


def _in_use(api: docker.APIClient, network: str) -> bool:
    with suppress(NotFound):
        return bool(api.inspect_network(network).get("Containers"))
    return False
