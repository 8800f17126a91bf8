"""Requests reach a service from outside, and from inside its network where its port cannot be reached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stagelens import run

from .conftest import Town

pytestmark = pytest.mark.engine


def test_both_ways_give_the_same_answer(town: Town) -> None:
    services = tuple(replace(service, environment={"TOWN": service.name}) for service in town.services)
    app = town.up(services=services)
    hidden = replace(app, services=tuple(replace(service, url=None) for service in app.services))
    for place in (app, hidden):
        answer = run.fetch(place, "/cgi-bin/town", service="accesslog")
        assert (answer.status, answer.body) == (200, b"accesslog")
        assert answer.headers["content-type"] == "text/plain"
        assert run.fetch(place, "/nothing").status == 404

    town.engine.api.kill(f"iotd-{town.namespace}")
    app = run.status(town.engine, town.namespace)
    assert [service.health for service in app.services] == ["unhealthy", "healthy", "healthy"]
    with pytest.raises(run.NotRunning, match="exited"):
        run.fetch(app, service="iotd")
