"""One request on its way through the applications, from their own logs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from stagelens.concurrency import poll
from stagelens.errors import short_traceback_on_interrupt
from stagelens_course.apps.errors import NotRunning
from stagelens_course.apps.fetch import fetch
from stagelens_course.apps.logs import entries, seconds
from stagelens_course.apps.model import GALLERY, App, Hop, RequestTrace, Service

_MOST = 100
_LINES = 2000
_LONGEST_MS = 86_400_000

Line = Mapping[str, Any]


@short_traceback_on_interrupt()
def trace_request(app: App, path: str = "/") -> RequestTrace:
    """Call the page once and follow the call by its X-Request-Id through the three applications' logs.

    Raises
    ------
    NotRunning: the gallery has no running container, gave no answer, or logged nothing of the request.
    """
    request_id = f"trace-{uuid.uuid4().hex[:12]}"
    fetch(app, path, headers={"X-Request-Id": request_id})
    hops: list[Hop] = []
    for _ in poll(2.5, 0.05):
        lines = {service.name: _lines(app, service, request_id) for service in app.services}
        hops = hops_of(app, path, lines)
        whole = bool(hops) and all(hop.inside is not None or hop.status is None for hop in hops)
        if whole:
            break
    if not hops:
        raise NotRunning("The gallery logged nothing of the request.", remedy=app.command(f"logs {GALLERY}"))
    return RequestTrace(request_id, tuple(hops))


def _lines(app: App, service: Service, request_id: str) -> list[Line]:
    """What a service logged of the request."""
    if service.state == "missing":
        return []
    found = (entry.fields for entry in entries(app.engine, service.container, tail=_LINES))
    return [fields for fields in found if fields and fields.get("request_id") == request_id]


def hops_of(app: App, path: str, lines: Mapping[str, list[Line]]) -> list[Hop]:
    """The page's own request, then its calls in the order of their start; none where it logged none.

    `lines` is what each service logged of the request.
    """
    page = next((line for line in lines.get(GALLERY, ()) if "calls" in line), None)
    if page is None:
        return []
    spent = _seconds(page.get("ms"))
    url = (app.service(GALLERY).url or f"http://{GALLERY}") + path
    ended = seconds(page.get("ts")) or 0.0
    calls = page.get("calls")
    made = [call for call in calls[:_MOST] if isinstance(call, dict)] if isinstance(calls, list) else []
    called = sorted((_hop(call, lines) for call in made), key=lambda hop: hop.started)
    # Logged times are whole milliseconds: by them a call may seem to begin before its cause.
    started = min([ended - spent, *(hop.started for hop in called)])
    first = Hop(GALLERY, _text(page.get("method")), url, _status(page), started, spent, spent)
    return [first, *called]


def _hop(call: Line, lines: Mapping[str, list[Line]]) -> Hop:
    """A call as the gallery logged it, with what the called service logged of it."""
    url = _text(call.get("url"))
    named, asked = _place(url)
    key = (_text(call.get("method")), asked)
    own = next((li for li in lines.get(named, ()) if (li.get("method"), li.get("path")) == key), None)
    return Hop(
        named,
        key[0],
        url,
        _status(call),
        seconds(call.get("ts")) or 0.0,
        _seconds(call.get("ms")),
        None if own is None else _seconds(own.get("ms")),
        _text(call.get("error")),
    )


def _place(url: str) -> tuple[str, str]:
    """The host and the path of an address."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.path
    except ValueError:  # no address at all
        return "", ""


def _status(line: Line) -> int | None:
    value = line.get("status")
    return value if isinstance(value, int) and value else None


def _seconds(milliseconds: object) -> float:
    # A log may say NaN, or a number that no float holds.
    if isinstance(milliseconds, int | float) and 0 <= milliseconds < _LONGEST_MS:
        return milliseconds / 1000
    return 0.0


def _text(value: object) -> str:
    return value[:2000] if isinstance(value, str) else ""
