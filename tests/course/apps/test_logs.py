"""Logs line by line: times, streams, fields, and no terminal escapes."""

from __future__ import annotations

import pytest

from stagelens_course import apps
from stagelens_course.apps.container_logs import parse_log_line

from .conftest import Town


def test_json_line_has_fields() -> None:
    entry = parse_log_line(1, b'2026-11-24T08:26:01.500000000Z {"ms": 2.5, "path": "/"}')
    assert entry.time == 1795508761.5
    assert entry.fields == {"ms": 2.5, "path": "/"}


@pytest.mark.parametrize("text", [b"", b"plain", b"[1]", b"{", b'{"a":' * 20_000, b"{\xff}", b"7"])
def test_other_line_has_no_fields(text: bytes) -> None:
    assert parse_log_line(1, b"2026-11-24T08:26:01Z " + text).fields is None


def test_terminal_escapes_are_removed() -> None:
    entry = parse_log_line(2, b"2026-11-24T08:26:01Z \x1b[2Jred \x1b]0;title\x07alert\x08")
    assert entry.text == "red alert\\u{8}"


@pytest.mark.engine
def test_lines_have_time_and_stream_and_follow_continues(town: Town) -> None:
    app = town.up()
    first = next(apps.logs("iotd", engine=town.engine, namespace=town.namespace))
    assert (first.stream, first.fields) == (1, {"message": "up"})
    started = town.engine.api.inspect_container(f"iotd-{town.namespace}")["State"]["StartedAt"]
    assert abs(first.time - parse_log_line(1, f"{started} x".encode()).time) < 60

    following = apps.logs("iotd", engine=town.engine, namespace=town.namespace, follow=True)
    apps.fetch(app, "/cgi-bin/town", service="iotd")
    assert next(entry for entry in following if "/cgi-bin/town" in entry.text).stream == 2
    following.close()  # type: ignore[attr-defined]
    last = list(apps.logs("iotd", engine=town.engine, namespace=town.namespace, tail=1))
    assert len(last) == 1

    with pytest.raises(apps.NotRunning, match=f"nothing-{town.namespace}"):
        apps.logs("nothing", engine=town.engine, namespace=town.namespace)
