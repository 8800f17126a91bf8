"""HTTP requests to the applications, and the trace of one request through their logs.

A request goes to the published port. Where that cannot be reached, wget sends it from inside the network:
in a JupyterHub's containers, or with an engine at another address, 127.0.0.1 is not the engine's.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from json import dumps
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from docker.errors import APIError

from stagelens.buildkit import dockerpy
from stagelens.concurrency import poll
from stagelens.engine import Engine
from stagelens.errors import short_traceback_on_interrupt
from stagelens_course.apps.container_logs import frames, log_entries, parse_timestamp
from stagelens_course.apps.model import GALLERY, App, Hop, NotRunning, RequestTrace, Response, Service

MAX_BYTES = 20 * 1024**2
_ATTEMPTS = 3
_STATUS = re.compile(rb"^\s*HTTP/1\.[01] (\d{3})", re.M)
_REFUSED = re.compile(rb"server returned error: HTTP/1\.[01] (\d{3})")
_MAX_CALLS = 100
_LOG_LINES = 2000
_MAX_MS = 86_400_000

Line = Mapping[str, Any]


@dataclass(frozen=True)
class _Request:
    """A request to a service; with a `body` it is a POST."""

    path: str
    headers: Mapping[str, str]
    body: str | None
    timeout: float


@short_traceback_on_interrupt()
def fetch(
    app: App,
    path: str = "/",
    *,
    service: str = GALLERY,
    headers: Mapping[str, str] | None = None,
    json: object = None,
    timeout: float = 30.0,
) -> Response:
    """GET a path of a service; an error status is a response, too.

    At most 20 MiB are read. From inside the network, an error status comes without its body.

    Parameters
    ----------
    app
        The applications, as `up` or `status` returned them.
    path
        The path with its query.
    service
        The service to ask.
    headers
        Further request headers.
    json
        A value to POST instead; it may be sent again if no response comes.
    timeout
        Seconds to wait for the response.

    Returns
    -------
    Response
        The response.

    Raises
    ------
    NotRunning
        If the service has no running container, or did not answer in time.
    """
    target = app.service(service)
    if target.state != "running":
        remedy = f"run.up in a notebook, or in a terminal: {app.command('up')}"
        raise NotRunning(f"{target.container} is not running ({target.state}).", remedy=remedy)
    kind = {} if json is None else {"Content-Type": "application/json"}
    body = None if json is None else dumps(json)
    request = _Request(path, {**kind, **(headers or {})}, body, timeout)
    response = _from_outside(target.url, request) if target.url else None
    response = response or _from_inside(app, target, request)
    if response is None:
        raise NotRunning(
            f"{target.container} gave no answer.",
            where=target.url or f"http://{target.name}{path}",
            remedy=f"see what it printed: {app.command(f'logs {target.name}')}",
        )
    return response


def _from_outside(url: str, request: _Request) -> Response | None:
    method = "GET" if request.body is None else "POST"
    with requests.Session() as session:
        # The environment's proxy cannot reach this machine's ports.
        session.trust_env = False
        try:
            with session.request(
                method,
                url + request.path,
                headers=dict(request.headers),
                data=request.body,
                timeout=request.timeout,
                stream=True,
                allow_redirects=False,
            ) as answer:
                body = bytearray()
                for chunk in answer.iter_content(65536):
                    body += chunk
                    if len(body) > MAX_BYTES:
                        break
                found = {name.lower(): value for name, value in answer.headers.items()}
                return Response(answer.status_code, found, bytes(body[:MAX_BYTES]))
        except requests.RequestException:
            return None


def _from_inside(app: App, target: Service, request: _Request) -> Response | None:
    # wget's -T crashes Debian's static busybox.
    command = ["timeout", str(max(1, round(request.timeout))), "wget", "-S", "-O", "-"]
    for name, value in request.headers.items():
        command += ["--header", f"{name}: {value}"]
    if request.body is not None:
        command += ["--post-data", request.body]
    command.append(f"http://{target.name}{request.path}")
    # The gallery's image has busybox; the others may have no wget.
    for service in reversed(app.services):
        if service.state == "running":
            answer = _run(app.engine, service.container, command)
            if answer is not None:
                return answer
    return None


def _run(engine: Engine, container: str, command: list[str]) -> Response | None:
    """Run wget in a container; run it again if a busy engine lost its output."""
    answer = None
    for _ in range(_ATTEMPTS):
        try:
            body, notes = _output(engine, container, command)
        except (APIError, requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            return None
        answer = _answer(body, notes)
        # wget always logs what it does: without a log the engine lost something.
        if notes and (answer is None or len(answer.body) >= min(_content_length(answer), MAX_BYTES)):
            break
    return answer


def _output(engine: Engine, container: str, command: list[str]) -> tuple[bytes, bytes]:
    """Run a command in a container; return its output and its errors.

    An engine loses the output that it has not read two seconds after the command's end.
    """
    api = engine.api
    out, err = bytearray(), bytearray()
    job = api.exec_create(container, command)
    # docker-py's exec_start leaves the connection open.
    begin = dockerpy.api_url(api, f"/exec/{job['Id']}/start")
    with closing(api.post(begin, json={"Detach": False}, stream=True, timeout=api.timeout)) as answer:
        dockerpy.raise_for_status(api, answer)
        for stream, data in frames(answer.raw):
            (err if stream == 2 else out).extend(data)
            if len(out) + len(err) > MAX_BYTES:
                break
    return bytes(out), bytes(err)


def _answer(body: bytes, notes: bytes) -> Response | None:
    if refused := _REFUSED.search(notes):
        return Response(int(refused[1]), {}, b"")
    statuses = _STATUS.findall(notes)
    return Response(int(statuses[-1]), _headers(notes), body[:MAX_BYTES]) if statuses else None


def _content_length(answer: Response) -> int:
    length = answer.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def _headers(notes: bytes) -> dict[str, str]:
    lines = (line.strip().partition(":") for line in notes.decode("latin-1").splitlines())
    return {name.lower(): value.strip() for name, colon, value in lines if colon and " " not in name}


@short_traceback_on_interrupt()
def trace_request(app: App, path: str = "/") -> RequestTrace:
    """Call the page once, and follow its X-Request-Id through the logs of the three applications.

    Parameters
    ----------
    app
        The applications, as `up` or `status` returned them.
    path
        The path of the page with its query.

    Returns
    -------
    RequestTrace
        The request and the calls that it caused.

    Raises
    ------
    NotRunning
        If the gallery has no running container, did not answer, or did not log the request.
    """
    request_id = f"trace-{uuid.uuid4().hex[:12]}"
    fetch(app, path, headers={"X-Request-Id": request_id})
    hops: list[Hop] = []
    for _ in poll(2.5, 0.05):
        lines = {service.name: _lines(app, service, request_id) for service in app.services}
        hops = hops_from_logs(app, path, lines)
        complete = bool(hops) and all(hop.inside is not None or hop.status is None for hop in hops)
        if complete:
            break
    if not hops:
        raise NotRunning("The gallery did not log the request.", remedy=app.command(f"logs {GALLERY}"))
    return RequestTrace(request_id, tuple(hops))


def _lines(app: App, service: Service, request_id: str) -> list[Line]:
    """Return the lines that a service logged about the request."""
    if service.state == "missing":
        return []
    found = (entry.fields for entry in log_entries(app.engine, service.container, tail=_LOG_LINES))
    return [fields for fields in found if fields and fields.get("request_id") == request_id]


def hops_from_logs(app: App, path: str, lines: Mapping[str, list[Line]]) -> list[Hop]:
    """Return the request for the page, then its calls in the order of their start.

    Parameters
    ----------
    app
        The applications.
    path
        The path that was requested.
    lines
        The lines that each service logged about the request. Without the page's line nothing is returned.
    """
    page = next((line for line in lines.get(GALLERY, ()) if "calls" in line), None)
    if page is None:
        return []
    spent = _seconds(page.get("ms"))
    url = (app.service(GALLERY).url or f"http://{GALLERY}") + path
    ended = parse_timestamp(page.get("ts")) or 0.0
    calls = page.get("calls")
    made = [call for call in calls[:_MAX_CALLS] if isinstance(call, dict)] if isinstance(calls, list) else []
    called = sorted((_hop(call, lines) for call in made), key=lambda hop: hop.started)
    # Logged times are whole milliseconds, by which a call may seem to begin before its cause.
    started = min([ended - spent, *(hop.started for hop in called)])
    first = Hop(GALLERY, _text(page.get("method")), url, _status(page), started, spent, spent)
    return [first, *called]


def _hop(call: Line, lines: Mapping[str, list[Line]]) -> Hop:
    """Return a call from the gallery's log line, with the time that the called service logged."""
    url = _text(call.get("url"))
    service, path = _host_and_path(url)
    key = (_text(call.get("method")), path)
    handled = next((li for li in lines.get(service, ()) if (li.get("method"), li.get("path")) == key), None)
    return Hop(
        service,
        key[0],
        url,
        _status(call),
        parse_timestamp(call.get("ts")) or 0.0,
        _seconds(call.get("ms")),
        None if handled is None else _seconds(handled.get("ms")),
        _text(call.get("error")),
    )


def _host_and_path(url: str) -> tuple[str, str]:
    """Return the host and the path of a URL."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.path
    except ValueError:  # no URL at all
        return "", ""


def _status(line: Line) -> int | None:
    value = line.get("status")
    return value if isinstance(value, int) and value else None


def _seconds(milliseconds: object) -> float:
    # A log may hold NaN, or a number too large for a float.
    if isinstance(milliseconds, int | float) and 0 <= milliseconds < _MAX_MS:
        return milliseconds / 1000
    return 0.0


def _text(value: object) -> str:
    return value[:2000] if isinstance(value, str) else ""
