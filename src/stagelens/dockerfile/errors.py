"""What can be wrong with a Dockerfile."""

from __future__ import annotations

from stagelens.errors import StagelensError


class DockerfileError(StagelensError):
    """The Dockerfile cannot be read; `path`, `line` (1-based, 0 for the file as a whole) and `reason`."""

    def __init__(self, path: str, line: int, reason: str, remedy: str | None = None) -> None:
        self.path = path
        self.line = line
        self.reason = reason
        place = f"{path}, line {line}" if line else path
        super().__init__("The Dockerfile cannot be read.", where=place, why=reason, remedy=remedy)
