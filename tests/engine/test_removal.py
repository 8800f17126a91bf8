"""Removing containers and networks that a busy engine first refuses to remove."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from docker.errors import APIError

from stagelens.engine import Engine, remove_container, remove_network

pytestmark = pytest.mark.engine
IMAGE = "diamol/base"


class Busy:
    """A call to the engine that fails with each refusal before it succeeds."""

    def __init__(self, call: Callable[..., Any], *refusals: str) -> None:
        self._call = call
        self.refusals = list(refusals)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.refusals:
            raise APIError(self.refusals.pop(0))
        return self._call(*args, **kwargs)


def container(engine: Engine, clean: Any, name: str, **settings: Any) -> str:
    created = engine.api.create_container(
        IMAGE, ["sleep", "600"], name=name, labels=clean.labels, stop_signal="SIGKILL", **settings
    )
    engine.api.start(created)
    return str(created["Id"])


def exists(engine: Engine, name: str) -> bool:
    return bool(engine.api.containers(all=True, filters={"name": name}))


def test_container_that_ends_slowly_is_removed(
    engine: Engine, clean: Any, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    container(engine, clean, unique)
    busy = Busy(engine.api.remove_container, "did not receive an exit event", "is already in progress")
    monkeypatch.setattr(engine.api, "remove_container", busy)
    remove_container(engine.api, unique)
    assert busy.refusals == []
    assert not exists(engine, unique)
    remove_container(engine.api, unique)


def test_last_refusal_is_raised(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, set_timeouts: Callable[..., None]
) -> None:
    set_timeouts(removal_pauses=(0.0,) * 3)
    busy = Busy(engine.api.remove_container, *(f"refusal {number}" for number in range(9)))
    monkeypatch.setattr(engine.api, "remove_container", busy)
    with pytest.raises(APIError, match="refusal 3"):
        remove_container(engine.api, "whatever")


def test_network_removal_waits_for_an_ended_container_only(
    engine: Engine, clean: Any, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = engine.api.create_network(unique, labels=clean.labels)["Id"]
    host = engine.api.create_host_config(network_mode=unique)
    user = container(engine, clean, unique, host_config=host)
    pauses: list[float] = []
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", pauses.append)
        with pytest.raises(APIError, match="active endpoints"):
            remove_network(engine.api, network)
    assert not pauses, "it must not wait for a running container"
    busy = Busy(engine.api.remove_network, "has active endpoints")
    monkeypatch.setattr(engine.api, "remove_network", busy)
    remove_container(engine.api, user)
    remove_network(engine.api, network)
    assert not engine.api.networks(ids=[network])
    remove_network(engine.api, network)


def test_concurrent_removals_of_one_container(engine: Engine, clean: Any, unique: str) -> None:
    container(engine, clean, unique)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: remove_container(engine.api, unique), range(4)))
    assert not exists(engine, unique)
