"""Errors of finding, starting and reaching an engine."""

from __future__ import annotations

from collections.abc import Sequence

from stagelens.engine.model import RejectedCandidate
from stagelens.errors import StagelensError


class EngineNotFound(StagelensError):
    """No engine answers.

    Parameters
    ----------
    rejected
        Each address that was tried, and why it was not used.
    remedy
        What to do if none of the rejected addresses has a remedy.
    what
        One sentence that says what failed.
    """

    def __init__(
        self, rejected: Sequence[RejectedCandidate], remedy: str, what: str = "No container engine answers."
    ) -> None:
        self.rejected = tuple(rejected)
        lines = "\n".join(f"    {each.address} ({each.origin}): {each.reason}" for each in self.rejected)
        known = next((each.remedy for each in self.rejected if each.remedy), None)
        super().__init__(
            what, why=f"these addresses were tried:\n{lines}" if lines else None, remedy=known or remedy
        )


class EngineStartFailed(StagelensError):
    """A private engine could not be started."""
