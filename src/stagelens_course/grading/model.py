"""An exercise and the grade of a submission: frozen values; a grade has a JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagelens.errors import StagelensError

if TYPE_CHECKING:
    from stagelens_course.grading.checks import Check


class ExerciseInvalid(StagelensError):
    """An exercise that does not exist, or whose exercise.toml is not valid."""


class SubmissionRefused(StagelensError):
    """A submission that cannot be graded: it has no Dockerfile, is too large, or holds special files."""


@dataclass(frozen=True, slots=True)
class SubmissionLimits:
    """The resources that a submission may use; times in seconds, sizes in bytes.

    Attributes
    ----------
    build
        The time of each build.
    answer
        The time until the container answers.
    memory
        The container's memory.
    pids
        The number of the container's processes.
    disk
        The size of what the container writes.
    context
        The size of all files of the submission.
    cpus
        The cores of the container, and of the builds on a grading engine.
    """

    build: float = 180.0
    answer: float = 15.0
    memory: int = 512 * 1024**2
    pids: int = 128
    disk: int = 64 * 1024**2
    context: int = 16 * 1024**2
    cpus: float = 1.0


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one file of the project, after which a check builds the submission again.

    Attributes
    ----------
    file
        The file to change.
    find
        The text to replace.
    replacement
        The new text. A random token replaces `{token}` in it.
    """

    file: str
    find: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Exercise:
    """An exercise: the project that learners get, its solution, and the checks.

    Attributes
    ----------
    id
        The exercise's name.
    title
        The title for people.
    folder
        The folder of the project.
    solution
        The folder of the solution.
    checks
        The checks, in the order of the report.
    images
        The base images that a submission may use; the first one contains the toolchain.
    limits
        The resources that a submission may use.
    network
        Whether RUN steps may use the network.
    editable
        Patterns of the files that learners may change; the other files are restored before grading.
    edits
        The edits that checks make, by name.
    """

    id: str
    title: str
    folder: Path
    solution: Path
    checks: tuple[Check, ...]
    images: tuple[str, ...]
    limits: SubmissionLimits = field(default_factory=SubmissionLimits)
    network: bool = False
    editable: tuple[str, ...] = ("Dockerfile", ".dockerignore")
    edits: Mapping[str, Edit] = field(default_factory=dict[str, Edit])

    @property
    def points(self) -> float:
        """The points that a correct submission earns."""
        return sum(check.points for check in self.checks)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes
    ----------
    id, title, points, hint, lesson
        The fields of the check.
    earned
        The points that the submission earned.
    passed
        Whether the submission passed.
    expected
        What the check expects, in words for the learner.
    seen
        What the check found instead, or as well.
    """

    id: str
    title: str
    points: float
    earned: float
    passed: bool
    expected: str
    seen: str
    hint: str
    lesson: str


@dataclass(frozen=True, slots=True)
class GradeReport:
    """The grade of one submission.

    Attributes
    ----------
    exercise
        The exercise's name.
    checks
        The results of the checks.
    points
        The points that a correct submission earns.
    earned
        The points that the submission earned.
    seconds
        The time that grading took.
    error
        Why the grader failed. There is no grade then, which differs from zero points.
    notes
        Sentences for the learner about the submitted files, such as a changed file that was restored.
    cpus
        The number of cores that the builds had; None if the engine sets no limit.
    """

    exercise: str
    checks: tuple[CheckResult, ...]
    points: float
    earned: float
    seconds: float
    error: str | None = None
    notes: tuple[str, ...] = ()
    cpus: float | None = None

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return self.error is None and all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, including `passed`."""
        return asdict(self) | {"passed": self.passed}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GradeReport:
        """Create a report from plain values.

        Parameters
        ----------
        value
            A result of `to_json`.

        Raises
        ------
        KeyError or TypeError
            If `value` has another form.
        """
        checks = tuple(CheckResult(**check) for check in value["checks"])
        return cls(
            exercise=value["exercise"],
            checks=checks,
            points=value["points"],
            earned=value["earned"],
            seconds=value["seconds"],
            error=value["error"],
            notes=tuple(value["notes"]),
            cpus=value["cpus"],
        )
