"""The application's view without a browser, with an application made by hand."""

from __future__ import annotations

import json
from typing import cast

import pytest

from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens_course.apps import App, Hop, RequestTrace, Service
from stagelens_course.apps.view import AppView

SERVICES = (
    Service("iotd", "image-of-the-day", "iotd", "running", "healthy", "http://127.0.0.1:800"),
    Service(
        "accesslog", "access-log", "accesslog", "exited", "unknown", "javascript:alert(1)", "<b>note</b>"
    ),
    Service(
        "image-gallery", "image-gallery", "image-gallery", "running", "unhealthy", "http://127.0.0.1:802"
    ),
)
TRACE = RequestTrace(
    "trace-1",
    (
        Hop("image-gallery", "GET", "http://127.0.0.1:802/", 200, 100.0, 0.05, 0.05),
        Hop("iotd", "GET", "http://iotd/image", 200, 100.01, 0.02, 0.015),
        Hop("accesslog", "POST", "http://accesslog/<script>", None, 100.04, 0.005, None, "refused"),
    ),
)


@pytest.fixture
def view() -> AppView:
    return AppView(App(None, "nat", SERVICES, cast("Engine", None)), TRACE)


def test_hops_start_in_seconds_after_the_first(view: AppView) -> None:
    assert [(hop["service"], hop["start"], hop["inside"]) for hop in view.hops] == [
        ("image-gallery", 0.0, 0.05),
        ("iotd", 0.01, 0.015),
        ("accesslog", 0.04, None),
    ]
    json.dumps(view.get_state(), default=str)


def test_only_web_addresses_become_links(view: AppView) -> None:
    assert [row["url"] for row in view.services] == ["http://127.0.0.1:800", None, "http://127.0.0.1:802"]


def test_log_of_an_unknown_service_is_refused(view: AppView) -> None:
    with pytest.raises(StagelensError, match=r"There is no such service\."):
        view.request("log", service="../etc")


def test_static_fallback_shows_the_same_escaped(view: AppView) -> None:
    html = view._repr_html_()
    assert "<script" not in html
    assert "javascript:" not in html
    assert "&lt;b&gt;note&lt;/b&gt;" in html
    assert "http://accesslog/&lt;script&gt;" in html
    assert "refused" in html
    assert str(view).splitlines() == [
        "nat: 2 of 3 running",
        "iotd: running, healthy http://127.0.0.1:800",
        "accesslog: exited",
        "image-gallery: running, unhealthy http://127.0.0.1:802",
    ]
    view.language = "ko"
    assert "3개 중 2개 실행 중" in view._repr_html_()
    assert "종료됨" in view._repr_html_()
