"""Requests reach a service by its port, or from inside the network where the port cannot be reached."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest

from stagelens_course import apps

from .conftest import Town

pytestmark = pytest.mark.engine


def test_requests_from_outside_and_inside_get_the_same_response(town: Town) -> None:
    services = tuple(replace(service, environment={"TOWN": service.name}) for service in town.services)
    app = town.up(services=services)
    hidden = replace(app, services=tuple(replace(service, url=None) for service in app.services))
    for reachable in (app, hidden):
        answer = apps.fetch(reachable, "/cgi-bin/town", service="accesslog")
        assert (answer.status, answer.body) == (200, b"accesslog")
        assert answer.headers["content-type"] == "text/plain"
        assert apps.fetch(reachable, "/nothing").status == 404
        echo = apps.fetch(reachable, "/cgi-bin/echo", json={"a": "b & c"})
        assert echo.body == b'application/json {"a": "b & c"}'

    town.engine.api.kill(f"iotd-{town.namespace}")
    app = apps.status(town.engine, town.namespace)
    assert [service.health for service in app.services] == ["unhealthy", "healthy", "healthy"]
    with pytest.raises(apps.NotRunning, match="exited") as caught:
        apps.fetch(app, service="iotd")
    assert f"stagelens up --as {town.namespace}" in str(caught.value)


def test_removed_service_raises_not_running(town: Town) -> None:
    app = town.up()
    town.down()
    with pytest.raises(apps.NotRunning, match="gave no answer") as caught:
        apps.fetch(app, "/cgi-bin/echo", service="accesslog", json={})
    assert f"stagelens logs accesslog --as {town.namespace}" in str(caught.value)


LOST = {
    "all": lambda body, notes: (b"", b""),
    "wget's log": lambda body, notes: (body, b""),
    "the body": lambda body, notes: (b"", notes),
    "the body's end": lambda body, notes: (body[:2], notes),
}


@pytest.mark.parametrize("part", LOST)
def test_request_is_repeated_if_the_engine_loses_output(
    town: Town, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    app = town.up()
    hidden = replace(app, services=tuple(replace(service, url=None) for service in app.services))
    module = importlib.import_module("stagelens_course.apps.http_requests")
    output, times = module._output, iter(range(2))

    def losing(*arguments: Any) -> tuple[bytes, bytes]:
        result = output(*arguments)
        return result if next(times, None) is None else LOST[part](*result)

    monkeypatch.setattr(module, "_output", losing)
    assert apps.fetch(hidden, "/health", service="iotd").body == b"well\n"
    assert next(times, None) is None
