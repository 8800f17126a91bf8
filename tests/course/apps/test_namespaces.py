"""Twenty learners on one engine: each reaches its own services by the chapter's names, nobody else's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from stagelens.engine import Engine
from stagelens_course import apps

from .conftest import Town

pytestmark = pytest.mark.engine
LEARNERS = 20


def test_twenty_namespaces_at_once_do_not_meet(
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

    # One goes away, and the others stay.
    gone, stays = towns[0], towns[1]
    before = stays.left()
    gone.down()
    assert gone.left() == []
    assert stays.left() == before
    assert apps.status(engine, stays.namespace).healthy
    with ThreadPoolExecutor(4) as pool:
        removed = list(pool.map(Town.down, towns[1:]))
    assert all(len(each.containers) == 3 and each.network for each in removed)
