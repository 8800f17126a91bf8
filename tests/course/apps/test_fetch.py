"""Requests reach a service from outside, and from inside its network where its port cannot be reached."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest

from stagelens_course import apps

from .conftest import Town

pytestmark = pytest.mark.engine


def test_both_ways_give_the_same_answer(town: Town) -> None:
    services = tuple(replace(service, environment={"TOWN": service.name}) for service in town.services)
    app = town.up(services=services)
    hidden = replace(app, services=tuple(replace(service, url=None) for service in app.services))
    for place in (app, hidden):
        answer = apps.fetch(place, "/cgi-bin/town", service="accesslog")
        assert (answer.status, answer.body) == (200, b"accesslog")
        assert answer.headers["content-type"] == "text/plain"
        assert apps.fetch(place, "/nothing").status == 404
        echo = apps.fetch(place, "/cgi-bin/echo", json={"a": "b & c"})
        assert echo.body == b'application/json {"a": "b & c"}'

    town.engine.api.kill(f"iotd-{town.namespace}")
    app = apps.status(town.engine, town.namespace)
    assert [service.health for service in app.services] == ["unhealthy", "healthy", "healthy"]
    with pytest.raises(apps.NotRunning, match="exited") as told:
        apps.fetch(app, service="iotd")
    assert f"stagelens up --as {town.namespace}" in str(told.value)


def test_a_service_that_has_gone_meanwhile_is_told_in_words(town: Town) -> None:
    app = town.up()
    town.down()
    with pytest.raises(apps.NotRunning, match="gave no answer") as told:
        apps.fetch(app, "/cgi-bin/echo", service="accesslog", json={})
    assert f"stagelens logs accesslog --as {town.namespace}" in str(told.value)


LOST = {
    "all": lambda body, notes: (b"", b""),
    "what wget says": lambda body, notes: (body, b""),
    "the body": lambda body, notes: (b"", notes),
    "the body's end": lambda body, notes: (body[:2], notes),
}


@pytest.mark.parametrize("part", LOST)
def test_what_a_busy_engine_loses_of_an_answer_is_asked_for_again(
    town: Town, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    app = town.up()
    hidden = replace(app, services=tuple(replace(service, url=None) for service in app.services))
    module = importlib.import_module("stagelens_course.apps.http_requests")
    output, times = module._output, iter(range(2))

    def losing(*given: Any) -> tuple[bytes, bytes]:
        said = output(*given)
        return said if next(times, None) is None else LOST[part](*said)

    monkeypatch.setattr(module, "_output", losing)
    assert apps.fetch(hidden, "/health", service="iotd").body == b"well\n"
    assert next(times, None) is None
