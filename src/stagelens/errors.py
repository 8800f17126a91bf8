"""Every error a user can meet: what happened, where, why, and what to do next."""

from __future__ import annotations


class StagelensError(Exception):
    """Base of all errors that stagelens raises on purpose.

    Parameters
    ----------
    what: one sentence that says what failed.
    where: the file and line, the stage, or the address it concerns.
    why: the cause, as far as it is known.
    remedy: what the user can do next, a command where there is one.
    """

    def __init__(
        self, what: str, *, where: str | None = None, why: str | None = None, remedy: str | None = None
    ) -> None:
        self.what = what
        self.where = where
        self.why = why
        self.remedy = remedy
        super().__init__(self.render())

    def render(self) -> str:
        """The message as lines: what, then `where:`, `why:` and `next:` where they are known."""
        parts = [self.what]
        for label, text in (("where", self.where), ("why", self.why), ("next", self.remedy)):
            if text:
                parts.append(f"  {label}: {text}")
        return "\n".join(parts)
