"""A request's way from the applications' logs: what they hold is a stranger's."""

from __future__ import annotations

import importlib
import itertools
from typing import Any, cast

import pytest

from stagelens.engine import Engine
from stagelens_course.apps import App, Service
from stagelens_course.apps.http_requests import hops_of

NAMES = ("iotd", "accesslog", "image-gallery")
APP = App(None, "nat", tuple(Service(n, n, n, "running") for n in NAMES), cast("Engine", None))
CALL = {
    "method": "GET",
    "url": "http://iotd/image",
    "status": 200,
    "ms": 20,
    "ts": "2026-11-24T08:26:01.010Z",
}
PAGE = {"method": "GET", "path": "/", "status": 200, "ms": 50, "ts": "2026-11-24T08:26:01.050Z"}


def test_what_is_logged_late_is_waited_for_where_the_machine_stands_still(
    monkeypatch: pytest.MonkeyPatch, stalling: None
) -> None:
    module = importlib.import_module("stagelens_course.apps.http_requests")
    looks, last = itertools.count(), {"image-gallery": PAGE | {"calls": []}}

    def logged(app: App, service: Service, request_id: str) -> list[dict[str, Any]]:
        late = next(looks) < 2 * len(app.services)
        return [last[service.name]] if service.name in last and not late else []

    monkeypatch.setattr(module, "fetch", lambda *_, **__: None)
    monkeypatch.setattr(module, "_lines", logged)
    assert [hop.service for hop in module.trace_request(APP).hops] == ["image-gallery"]


def hops(call: dict[str, Any], **page: Any) -> list[tuple[str, float, float | None]]:
    lines = {
        "image-gallery": [PAGE | {"calls": [call]} | page],
        "iotd": [{"method": "GET", "path": "/image", "ms": 15}],
    }
    return [(hop.service, hop.seconds, hop.inside) for hop in hops_of(APP, "/", lines)]


def test_a_call_has_its_callers_time_and_its_services_own() -> None:
    assert hops(CALL) == [("image-gallery", 0.05, 0.05), ("iotd", 0.02, 0.015)]


@pytest.mark.parametrize("ms", [float("nan"), float("inf"), 10**400, -(10**400), -1, "5", None, [1]])
def test_a_time_that_is_none_counts_as_nothing(ms: object) -> None:
    assert hops(CALL | {"ms": ms}, ms=ms) == [("image-gallery", 0.0, 0.0), ("iotd", 0.0, 0.015)]


@pytest.mark.parametrize("calls", [None, 7, {"url": "x"}, ["x", 7]])
def test_calls_of_another_form_are_passed_over(calls: object) -> None:
    assert hops(CALL, calls=calls) == [("image-gallery", 0.05, 0.05)]


@pytest.mark.parametrize(("url", "name"), [("http://accesslog/x", "accesslog"), ("http://[no/address", "")])
def test_a_service_that_logged_nothing_has_no_time_of_its_own(url: str, name: str) -> None:
    assert hops(CALL | {"url": url}) == [("image-gallery", 0.05, 0.05), (name, 0.02, None)]


def test_of_very_many_calls_the_first_ones_are_shown_and_a_status_of_0_is_none() -> None:
    calls = [CALL | {"status": 0}] * 5000
    found = hops_of(APP, "/", {"image-gallery": [PAGE | {"calls": calls}]})
    assert len(found) == 101
    assert {hop.status for hop in found[1:]} == {None}
