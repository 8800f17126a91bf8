"""Find, start and describe a container engine; the only room that makes a docker client."""

from __future__ import annotations

import os
import platform
import sys

from stagelens.engine.borrow import RUNS, borrowed, keep
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
from stagelens.engine.removal import remove_container, remove_network
from stagelens.engine.search import candidates, named
from stagelens.errors import short_traceback_on_interrupt

__all__ = [
    "RUNS",
    "Engine",
    "EngineInfo",
    "EngineNotFound",
    "EngineStartFailed",
    "PrivateEngine",
    "Skipped",
    "borrowed",
    "can_start",
    "connect",
    "grading_engine",
    "grading_engines",
    "is_grading_engine",
    "keep",
    "private_engine",
    "remove_container",
    "remove_network",
    "start_private",
    "stop_private",
]

PRIVATE = "private engine"


@short_traceback_on_interrupt()
def connect(host: str | None = None, start: bool = True, report: Report | None = None) -> Engine:
    """Find an engine that answers, in the order of `search.candidates`.

    What DOCKER_HOST or DOCKER_CONTEXT names is used or nothing is, as the docker command has it: a build on
    another engine than the one named would be a surprise.

    Parameters
    ----------
    host: an address (`unix://`, `tcp://`, `ssh://`, `npipe://`) to use and no other.
    start: as root on Linux with dockerd installed, start a private engine where none is found.
    report: is told in words what takes a while: an engine that is slow, a private one that starts.

    Raises
    ------
    EngineNotFound: nothing answers; the error names each place and why it did not do.
    EngineStartFailed: a private engine was started and did not come up.
    """
    skipped: list[Skipped] = []
    own = Candidate(private_engine().address, PRIVATE)
    late: list[tuple[Candidate, Skipped]] = []
    for candidate in [named(host, "the address given")] if host else [*candidates(), own]:
        if candidate is own:
            keep()
        found = _ask(candidate, skipped)
        if found is None and skipped[-1].late:
            if host or skipped[-1].ordered:
                found = _wait(candidate, skipped[-1], skipped, report)
            else:
                late.append((candidate, skipped[-1]))
        if found is not None:
            return found
        if skipped[-1].ordered:
            raise EngineNotFound(
                skipped,
                what=f"The engine that {candidate.origin} names does not answer.",
                remedy=f"{_start(candidate)}, or: unset {candidate.origin}   then run this again",
            )
    for candidate, place in late:
        # Rather than to start one beside it, or to give up.
        if found := _wait(candidate, place, skipped, report):
            return found
    if host is None and start:
        reason = can_start()
        if reason is None:
            start_private(report)
            found = _ask(own, skipped)
            if found is not None:
                return found
        else:
            skipped.append(Skipped(own.address, PRIVATE, reason))
    raise EngineNotFound(skipped, remedy="start it, or give another address" if host else _remedy())


def _start(named: Candidate) -> str:
    """How to start the engine that somebody named; `stagelens lab` names the private one to its notebooks."""
    return "./stagelens engine start" if named.address == private_engine().address else "start it"


def _remedy() -> str:
    """What to install or start on this system, and what to run then."""
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


def _wait(
    candidate: Candidate, late: Skipped, skipped: list[Skipped], report: Report | None
) -> Engine | None:
    """The same for one that was `late`, with more patience."""
    if report is not None:
        report(f"waiting for the engine at {late.address}")
    skipped.remove(late)
    return _ask(candidate, skipped, patient=True)


def _ask(candidate: Candidate, skipped: list[Skipped], patient: bool = False) -> Engine | None:
    """The engine there, or None and a further entry in `skipped`."""
    result = probe(candidate, patient)
    if isinstance(result, Skipped):
        skipped.append(result)
        return None
    api, info = result
    return Engine(api, candidate.address, candidate.origin, info, tuple(skipped))
