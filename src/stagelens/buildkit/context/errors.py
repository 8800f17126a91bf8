"""What can be wrong with a build context."""

from __future__ import annotations

from stagelens.errors import StagelensError


class ContextError(StagelensError):
    """A path of the build context cannot be used."""
