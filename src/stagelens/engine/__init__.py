"""Find, start and describe a container engine; the only room that makes a docker client."""

from __future__ import annotations

from stagelens.engine.client import probe
from stagelens.engine.errors import EngineNotFound, EngineStartFailed
from stagelens.engine.model import Engine, EngineInfo, Skipped
from stagelens.engine.search import candidates, named

__all__ = ["Engine", "EngineInfo", "EngineNotFound", "EngineStartFailed", "Skipped", "connect"]


def connect(host: str | None = None, start: bool = True) -> Engine:
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
    places = [named(host, "the address given")] if host else candidates()
    for candidate in places:
        result = probe(candidate)
        if not isinstance(result, Skipped):
            api, info = result
            return Engine(api, candidate.address, candidate.origin, info, tuple(skipped))
        skipped.append(result)
    raise EngineNotFound(skipped, remedy="stagelens doctor")
