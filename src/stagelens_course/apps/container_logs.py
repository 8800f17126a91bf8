"""Read the applications' logs line by line, with the fields of structured lines."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import requests
import urllib3
from docker.errors import NotFound

from stagelens import engine as engines
from stagelens.buildkit import dockerpy
from stagelens.builds.logs import plain_line
from stagelens_course.apps.model import LogEntry, NotRunning
from stagelens_course.apps.names import resource_names

_MAX_LINE_BYTES = 64 * 1024


def logs(
    name: str,
    *,
    engine: engines.Engine | None = None,
    namespace: str | None = None,
    tail: int | None = 200,
    follow: bool = False,
) -> Iterator[LogEntry]:
    """Iterate over the last lines of a service's log, the oldest first.

    Parameters
    ----------
    name
        The service, such as "image-gallery".
    engine
        The engine that it runs on; by default the one that `stagelens.engine.connect` finds.
    namespace
        The namespace that it was started in, see `up`.
    tail
        How many of the last lines; None for all.
    follow
        Whether to continue with new lines until the container ends or the iterator is closed.

    Returns
    -------
    Iterator[LogEntry]
        The lines.

    Raises
    ------
    NotRunning
        If the service has no container.
    """
    found = engine or engines.connect(start=False)
    return log_entries(found, resource_names(namespace).container(name), tail=tail, follow=follow)


def log_entries(
    engine: engines.Engine,
    container: str,
    *,
    tail: int | None = None,
    since: float | None = None,
    follow: bool = False,
) -> Iterator[LogEntry]:
    """Iterate over a container's log, see `logs`; `since` is in Unix seconds."""
    api = engine.api
    query: dict[str, Any] = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
    query |= {"tail": "all" if tail is None else tail} | ({} if since is None else {"since": f"{since:.9f}"})
    try:
        tty = bool(api.inspect_container(container)["Config"]["Tty"])
        response = api.get(
            dockerpy.api_url(api, f"/containers/{container}/logs"),
            params=query,
            stream=True,
            timeout=(20, None if follow else 60),
        )
        dockerpy.raise_for_status(api, response)
    except NotFound:
        raise NotRunning(
            f"There is no container called {container}.",
            remedy="stagelens status   (lists the containers; with the same --as)",
        ) from None
    return _read(response, tty)


def _read(response: requests.Response, tty: bool) -> Iterator[LogEntry]:
    with closing(response):
        chunks = ((1, chunk) for chunk in response.raw.stream(65536)) if tty else frames(response.raw)
        try:
            yield from _lines(chunks)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NotRunning("The engine ended the log early.", why=str(error)) from error


def frames(raw: Any) -> Iterator[tuple[int, bytes]]:
    """Iterate over pairs of stream number (2: errors) and bytes, see the Engine API's "container attach"."""
    while len(header := raw.read(8)) == 8:
        stream, length = struct.unpack(">BxxxL", header)
        while length > 0 and (data := raw.read(min(length, 65536))):
            length -= len(data)
            yield stream, data


def _lines(chunks: Iterator[tuple[int, bytes]]) -> Iterator[LogEntry]:
    pending: dict[int, bytes] = {}
    for stream, data in chunks:
        *complete, rest = (pending.get(stream, b"") + data).split(b"\n")
        # An endless line must not fill the memory.
        pending[stream] = rest[:_MAX_LINE_BYTES]
        for line in complete:
            yield parse_log_line(stream, line[:_MAX_LINE_BYTES])
    for stream, rest in pending.items():
        if rest:
            yield parse_log_line(stream, rest)


def parse_log_line(stream: int, line: bytes) -> LogEntry:
    """Parse a line of the engine: an RFC 3339 time, a blank, and what the program wrote."""
    stamp, _, text = line.decode("utf-8", "replace").partition(" ")
    return LogEntry(parse_timestamp(stamp) or 0.0, stream, plain_line(text), _fields(text))


def parse_timestamp(stamp: object) -> float | None:
    """Return an RFC 3339 time with up to nine decimals in Unix seconds; None for other values."""
    try:
        moment = datetime.fromisoformat(str(stamp))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _fields(text: str) -> Mapping[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
