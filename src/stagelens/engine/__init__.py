"""Find, start and describe a container engine; the only room that makes a docker client."""

from __future__ import annotations

import os

from stagelens.engine.client import Candidate, probe
from stagelens.engine.errors import EngineNotFound, EngineStartFailed
from stagelens.engine.model import Engine, EngineInfo, Skipped
from stagelens.engine.private import Report, can_start, private_engine
from stagelens.engine.private import start as start_private
from stagelens.engine.private import stop as stop_private
from stagelens.engine.search import candidates, named

__all__ = [
    "Engine",
    "EngineInfo",
    "EngineNotFound",
    "EngineStartFailed",
    "Skipped",
    "can_start",
    "connect",
    "private_engine",
    "start_private",
    "stop_private",
]

PRIVATE = "private engine"


def connect(host: str | None = None, start: bool = True, report: Report | None = None) -> Engine:
    """Find an engine that answers, in the order of `search.candidates`.

    Parameters
    ----------
    host: an address (`unix://`, `tcp://`, `ssh://`, `npipe://`) to use and no other.
    start: as root on Linux with dockerd installed, start a private engine where none is found.

    Raises
    ------
    EngineNotFound: nothing answers; the error names each place and why it did not do.
    """
    skipped: list[Skipped] = []
    own = Candidate(private_engine().address, PRIVATE)
    places = [named(host, "the address given")] if host else [*candidates(), own]
    for candidate in places:
        result = probe(candidate)
        if not isinstance(result, Skipped):
            api, info = result
            return Engine(api, candidate.address, candidate.origin, info, tuple(skipped))
        skipped.append(result)
    if host is None and start and not os.environ.get("DOCKER_HOST"):
        if (reason := can_start()) is None:
            return connect(start_private(report).address, start=False)
        skipped.append(Skipped(own.address, PRIVATE, reason))
    raise EngineNotFound(skipped, remedy="stagelens doctor --fix")
