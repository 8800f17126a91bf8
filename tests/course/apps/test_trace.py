"""Tracing a request through the applications' logs, whose content is untrusted."""

from __future__ import annotations

import importlib
import itertools
from typing import Any, cast

import pytest

from stagelens.engine import Engine
from stagelens_course.apps import App, Service
from stagelens_course.apps.http_requests import hops_from_logs

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


def test_late_log_line_is_awaited_on_a_stalled_machine(
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
    return [(hop.service, hop.seconds, hop.inside) for hop in hops_from_logs(APP, "/", lines)]


def test_call_has_the_times_of_caller_and_service() -> None:
    assert hops(CALL) == [("image-gallery", 0.05, 0.05), ("iotd", 0.02, 0.015)]


@pytest.mark.parametrize("ms", [float("nan"), float("inf"), 10**400, -(10**400), -1, "5", None, [1]])
def test_invalid_time_counts_as_zero(ms: object) -> None:
    assert hops(CALL | {"ms": ms}, ms=ms) == [("image-gallery", 0.0, 0.0), ("iotd", 0.0, 0.015)]


@pytest.mark.parametrize("calls", [None, 7, {"url": "x"}, ["x", 7]])
def test_malformed_calls_are_ignored(calls: object) -> None:
    assert hops(CALL, calls=calls) == [("image-gallery", 0.05, 0.05)]


@pytest.mark.parametrize(("url", "name"), [("http://accesslog/x", "accesslog"), ("http://[no/address", "")])
def test_service_without_a_log_line_has_no_inside_time(url: str, name: str) -> None:
    assert hops(CALL | {"url": url}) == [("image-gallery", 0.05, 0.05), (name, 0.02, None)]


def test_only_the_first_100_calls_are_shown_and_status_0_is_none() -> None:
    calls = [CALL | {"status": 0}] * 5000
    found = hops_from_logs(APP, "/", {"image-gallery": [PAGE | {"calls": calls}]})
    assert len(found) == 101
    assert {hop.status for hop in found[1:]} == {None}
