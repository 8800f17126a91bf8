"""HTTP requests to the applications: straight to the published port, else from inside their network.

The second way is for notebooks that share an engine's machine but not its 127.0.0.1: a JupyterHub's
containers, or an engine at another address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from json import dumps

import requests
import urllib3
from docker.errors import APIError

from stagelens.buildkit import dockerpy
from stagelens.engine import Engine
from stagelens.errors import short_traceback_on_interrupt
from stagelens_course.apps.errors import NotRunning
from stagelens_course.apps.logs import frames
from stagelens_course.apps.model import GALLERY, App, Response, Service

MAX_BYTES = 20 * 1024**2
_TIMES = 3
_STATUS = re.compile(rb"^\s*HTTP/1\.[01] (\d{3})", re.M)
_REFUSED = re.compile(rb"server returned error: HTTP/1\.[01] (\d{3})")


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
