"""What can be wrong with a Dockerfile."""

from __future__ import annotations

from collections.abc import Sequence

from stagelens.errors import StagelensError

_MOST_LISTED = 30


class DockerfileError(StagelensError):
    """The Dockerfile cannot be read; `path`, `line` (1-based, 0 for the file as a whole) and `reason`."""

    def __init__(self, path: str, line: int, reason: str, remedy: str | None = None) -> None:
        self.path = path
        self.line = line
        self.reason = reason
        place = f"{path}, line {line}" if line else path
        super().__init__("The Dockerfile cannot be read.", where=place, why=reason, remedy=remedy)


class StageNotFound(StagelensError, KeyError):
    """There is no such stage in a Dockerfile, or in a build of it; `stages` are those that there are."""

    def __init__(
        self, reference: str | int, path: str, stages: Sequence[str], why: str | None = None
    ) -> None:
        self.stages = tuple(stages)
        listed = ", ".join(stages[:_MOST_LISTED]) + (", …" if len(stages) > _MOST_LISTED else "")
        super().__init__(
            f"There is no stage {str(reference)!r}.",
            where=path,
            why=why,
            remedy=f"take one of these: {listed}",
        )
