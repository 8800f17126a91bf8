"""Find, start and describe a container engine; the only room that makes a docker client."""

from __future__ import annotations

import os
import platform
import sys

from stagelens.engine.client import Candidate, probe
from stagelens.engine.errors import EngineNotFound, EngineStartFailed
from stagelens.engine.model import Engine, EngineInfo, Skipped
from stagelens.engine.private import (
    PrivateEngine,
    Report,
    can_start,
    grading_engine,
    grading_engines,
    is_grading_engine,
    private_engine,
)
from stagelens.engine.private import start as start_private
from stagelens.engine.private import stop as stop_private
from stagelens.engine.search import candidates, named

__all__ = [
    "Engine",
    "EngineInfo",
    "EngineNotFound",
    "EngineStartFailed",
    "PrivateEngine",
    "Skipped",
    "can_start",
    "connect",
    "grading_engine",
    "grading_engines",
    "is_grading_engine",
    "private_engine",
    "start_private",
    "stop_private",
]

PRIVATE = "private engine"
NOT_BESIDE = "not started, since DOCKER_HOST names another engine (unset it to have one started)"


def connect(host: str | None = None, start: bool = True, report: Report | None = None) -> Engine:
    """Find an engine that answers, in the order of `search.candidates`.

    Parameters
    ----------
    host: an address (`unix://`, `tcp://`, `ssh://`, `npipe://`) to use and no other.
    start: as root on Linux with dockerd installed, start a private engine where none is found; not where
        DOCKER_HOST names one, since building on another engine than the one named would be a surprise.
    report: is told in words what is going on while a private engine starts.

    Raises
    ------
    EngineNotFound: nothing answers; the error names each place and why it did not do.
    EngineStartFailed: a private engine was started and did not come up.
    """
    skipped: list[Skipped] = []
    own = Candidate(private_engine().address, PRIVATE)
    for candidate in [named(host, "the address given")] if host else [*candidates(), own]:
        found = _ask(candidate, skipped)
        if found is not None:
            return found
    if host is None and start:
        reason = NOT_BESIDE if os.environ.get("DOCKER_HOST") else can_start()
        if reason is None:
            start_private(report)
            found = _ask(own, skipped)
            if found is not None:
                return found
        else:
            skipped.append(Skipped(own.address, PRIVATE, reason))
    raise EngineNotFound(skipped, remedy=_remedy())


def _remedy() -> str:
    """What to install or start on this system, and what to run then."""
    if os.environ.get("DOCKER_HOST"):
        return "start the engine that DOCKER_HOST names, or: unset DOCKER_HOST   then run this again"
    if sys.platform != "linux":
        return "install Docker Desktop or Podman, start it, then run this again"
    own = "run this as root, which starts a private engine"
    if "microsoft" in platform.release().lower():
        integration = "turn on Docker Desktop's WSL integration for this distribution, then run this again"
        return f"{integration}   (or {own})"
    if os.geteuid() != 0:
        group = "sudo usermod -aG docker $USER, log out and in, then run this again"
        return f"install Docker, then: sudo systemctl start docker, {group}   (or {own})"
    return "./stagelens doctor --fix"


def _ask(candidate: Candidate, skipped: list[Skipped]) -> Engine | None:
    """The engine there, or None and a further entry in `skipped`."""
    result = probe(candidate)
    if isinstance(result, Skipped):
        skipped.append(result)
        return None
    api, info = result
    return Engine(api, candidate.address, candidate.origin, info, tuple(skipped))
