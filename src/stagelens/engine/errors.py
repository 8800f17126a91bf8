"""What can go wrong between stagelens and an engine."""

from __future__ import annotations

from collections.abc import Sequence

import requests

from stagelens.engine.model import Skipped
from stagelens.errors import StagelensError


class EngineNotFound(StagelensError):
    """No engine answers; `tried` says of each place why it did not do."""

    def __init__(
        self, tried: Sequence[Skipped], remedy: str, what: str = "No container engine answers."
    ) -> None:
        self.tried = tuple(tried)
        listed = "\n".join(f"    {s.address} ({s.origin}): {s.reason}" for s in self.tried)
        own = next((s.remedy for s in self.tried if s.remedy), None)
        super().__init__(
            what, why=f"each place was tried:\n{listed}" if listed else None, remedy=own or remedy
        )


class EngineStartFailed(StagelensError):
    """A private engine was started and did not come up."""


class EngineLost(StagelensError, requests.ConnectionError):
    """An engine that answered before does so no more; whoever knows docker-py alone finds its error in it."""
