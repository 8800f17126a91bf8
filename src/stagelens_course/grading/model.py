"""What is graded and what comes of it: frozen values that go to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagelens.errors import StagelensError

if TYPE_CHECKING:
    from stagelens_course.grading.checks import Check


class ExerciseInvalid(StagelensError):
    """There is no such exercise, or its description says something that nothing can be made of."""


class SubmissionRefused(StagelensError):
    """A submission's folder cannot be looked at: no Dockerfile, too large, or not made of plain files."""


@dataclass(frozen=True, slots=True)
class SubmissionLimits:
    """What a submission may use; times in seconds, `memory`, `disk` and `context` in bytes.

    `build` bounds each of its builds, `answer` how long its container may take until it answers, `memory`
    and `pids` its container, `disk` what that may write, `context` all files of the submission. `cpus` is
    its share of the machine, in cores: of its container, and of its builds where the engine can do that.
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
    """A change that somebody makes to a file of the project: `find` becomes `replacement`.

    `replacement` may hold `{token}`, which is replaced by letters that nothing else has.
    """

    file: str
    find: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Exercise:
    """An exercise: the folder that learners get, its solution, and the checks.

    A learner may change the files that `editable` names and add others; the rest is restored before it
    is graded. `images` are the base images that a build may begin with, the first one the toolchain's.
    `network` says whether its RUN steps may reach the network. `edits` are tried by checks, by name.
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
        """What a right answer earns."""
        return sum(check.points for check in self.checks)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found; `points` are possible, `earned` given. `hint` is meant for a failed one."""

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

    `error` is set where the grader itself failed: there is no grade then, which is not the same as zero.
    `notes` tell a learner what the grader did with the files, such as a changed file that was restored.
    `cpus` are the cores that its builds had, None where they had whatever the engine has.
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
        """As plain values, `passed` among them."""
        return asdict(self) | {"passed": self.passed}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GradeReport:
        """Return what `to_json` made.

        Raises
        ------
        KeyError, TypeError: it is something else.
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
