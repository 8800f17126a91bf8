"""Twenty learners on one engine: each reaches only the services of the same namespace."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from stagelens.engine import Engine
from stagelens_course import apps

from .conftest import Town

pytestmark = pytest.mark.engine
LEARNERS = 20


def test_twenty_parallel_namespaces_are_separate(
    town: Town, engine: Engine, light: tuple[apps.ApplicationSpec, ...]
) -> None:
    # `town` cleans up by the end of names.
    towns = [Town(engine, f"l{n}-{town.namespace}", light) for n in range(LEARNERS)]

    def start(each: Town) -> apps.App:
        services = tuple(
            replace(service, environment={"TOWN": f"{service.name} of {each.namespace}"}) for service in light
        )
        return each.up(services=services)

    with ThreadPoolExecutor(LEARNERS) as pool:
        started = list(pool.map(start, towns))
        pages = list(pool.map(lambda app: apps.fetch(app, "/cgi-bin/others").body.decode(), started))
    for each, app, page in zip(towns, started, pages, strict=True):
        assert app.healthy
        assert page.split("\n") == [f"iotd of {each.namespace}", f"accesslog of {each.namespace}", ""]
    assert len({app.network for app in started}) == LEARNERS
    assert len({service.url for app in started for service in app.services}) == 3 * LEARNERS

    # Removing one leaves the others.
    removed_town, other = towns[0], towns[1]
    before = other.resources()
    removed_town.down()
    assert removed_town.resources() == []
    assert other.resources() == before
    assert apps.status(engine, other.namespace).healthy
    with ThreadPoolExecutor(4) as pool:
        removed = list(pool.map(Town.down, towns[1:]))
    assert all(len(each.containers) == 3 and each.network for each in removed)
