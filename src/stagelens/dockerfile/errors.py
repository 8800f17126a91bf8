"""Errors of reading a Dockerfile."""

from __future__ import annotations

from collections.abc import Sequence

from stagelens.errors import StagelensError

_MOST_LISTED = 30


class DockerfileError(StagelensError):
    """A Dockerfile that cannot be read.

    Attributes
    ----------
    path
        The path of the Dockerfile.
    line
        The line of the mistake, from 1; 0 for the file as a whole.
    reason
        What is wrong there.
    """

    def __init__(self, path: str, line: int, reason: str, remedy: str | None = None) -> None:
        self.path = path
        self.line = line
        self.reason = reason
        where = f"{path}, line {line}" if line else path
        super().__init__("The Dockerfile cannot be read.", where=where, why=reason, remedy=remedy)


class SeveralPlatforms(StagelensError):
    """A build for several platforms at once.

    Attributes
    ----------
    platforms
        The platforms that were asked for.
    """

    def __init__(self, platforms: str) -> None:
        self.platforms = tuple(platforms.split(","))
        super().__init__(
            "One build cannot be for several platforms here.",
            where=f"platform {platforms}",
            why="each platform has its own steps, cache and files",
            remedy=f"build one platform at a time, first {self.platforms[0] or 'linux/amd64'}",
        )


class StageNotFound(StagelensError, KeyError):
    """A stage that is not in a Dockerfile, or not in a build of it.

    Attributes
    ----------
    stages
        The labels of the stages that exist.
    """

    def __init__(
        self, reference: str | int, path: str, stages: Sequence[str], why: str | None = None
    ) -> None:
        self.stages = tuple(stages)
        listed = ", ".join(stages[:_MOST_LISTED]) + (", …" if len(stages) > _MOST_LISTED else "")
        super().__init__(
            f"Stage {str(reference)!r} does not exist.",
            where=path,
            why=why,
            remedy=f"use one of these: {listed}",
        )
