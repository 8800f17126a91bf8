"""HTTP requests to the applications, and the trace of one request through their logs.

A request goes straight to the published port, else it is sent from inside the network.

The second way is for notebooks that share an engine's machine but not its 127.0.0.1: a JupyterHub's
containers, or an engine at another address.
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
from stagelens_course.apps.container_logs import entries, frames, seconds
from stagelens_course.apps.errors import NotRunning
from stagelens_course.apps.model import GALLERY, App, Hop, RequestTrace, Response, Service

MAX_BYTES = 20 * 1024**2
_TIMES = 3
_STATUS = re.compile(rb"^\s*HTTP/1\.[01] (\d{3})", re.M)
_REFUSED = re.compile(rb"server returned error: HTTP/1\.[01] (\d{3})")
_MOST = 100
_LINES = 2000
_LONGEST_MS = 86_400_000

Line = Mapping[str, Any]


@dataclass(frozen=True)
class _Question:
    """What is asked of a service; with a `body` it is a POST."""

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
    """GET a path of a service; an error status is an answer, too. At most 20 MiB are read.

    json: what to POST there instead; where no answer comes it may be sent again.

    From inside the network, an error status comes without its body.

    Raises
    ------
    NotRunning: the service has no running container, or gave no answer within `timeout` seconds.
    """
    asked = app.service(service)
    if asked.state != "running":
        remedy = f"run.up in a notebook, or in a terminal: {app.command('up')}"
        raise NotRunning(f"{asked.container} is not running ({asked.state}).", remedy=remedy)
    kind = {} if json is None else {"Content-Type": "application/json"}
    body = None if json is None else dumps(json)
    question = _Question(path, {**kind, **(headers or {})}, body, timeout)
    reached = _outside(asked.url, question) if asked.url else None
    found = reached or _inside(app, asked, question)
    if found is None:
        raise NotRunning(
            f"{asked.container} gave no answer.",
            where=asked.url or f"http://{asked.name}{path}",
            remedy=f"see what it printed: {app.command(f'logs {asked.name}')}",
        )
    return found


def _outside(url: str, question: _Question) -> Response | None:
    method = "GET" if question.body is None else "POST"
    with requests.Session() as session:
        # A proxy of the environment knows nothing of this machine's own ports.
        session.trust_env = False
        try:
            with session.request(
                method,
                url + question.path,
                headers=dict(question.headers),
                data=question.body,
                timeout=question.timeout,
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


def _inside(app: App, asked: Service, question: _Question) -> Response | None:
    # Debian's static busybox dies of wget's own -T.
    command = ["timeout", str(max(1, round(question.timeout))), "wget", "-S", "-O", "-"]
    for name, value in question.headers.items():
        command += ["--header", f"{name}: {value}"]
    if question.body is not None:
        command += ["--post-data", question.body]
    command.append(f"http://{asked.name}{question.path}")
    # The gallery stands on an image with busybox; the others may have no wget.
    for service in reversed(app.services):
        if service.state == "running":
            answer = _run(app.engine, service.container, command)
            if answer is not None:
                return answer
    return None


def _run(engine: Engine, container: str, command: list[str]) -> Response | None:
    """Run wget in a container, again where a busy engine lost what it said."""
    answer = None
    for _ in range(_TIMES):
        try:
            body, notes = _output(engine, container, command)
        except (APIError, requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            return None
        answer = _answer(body, notes)
        # wget tells of everything that it does.
        if notes and (answer is None or len(answer.body) >= min(_promised(answer), MAX_BYTES)):
            break
    return answer


def _output(engine: Engine, container: str, command: list[str]) -> tuple[bytes, bytes]:
    """What a program in a container writes, as output and as errors.

    An engine loses what it has not read two seconds after the program's end.
    """
    api = engine.api
    out, err = bytearray(), bytearray()
    job = api.exec_create(container, command)
    # docker-py's own exec_start leaves the connection open.
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


def _promised(answer: Response) -> int:
    length = answer.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def _headers(notes: bytes) -> dict[str, str]:
    lines = (line.strip().partition(":") for line in notes.decode("latin-1").splitlines())
    return {name.lower(): value.strip() for name, colon, value in lines if colon and " " not in name}


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
