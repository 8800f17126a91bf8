"""The results of a learner and of a class: frozen values with a JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stagelens_course.grading.model import Exercise, GradeReport

SCHEMA = 1
# graded: there is a grade. refused: the submission was rejected. error: the grader failed.
ResultStatus = Literal["graded", "refused", "error"]


@dataclass(frozen=True, slots=True)
class LearnerResult:
    """The result of one learner.

    Attributes
    ----------
    learner
        The learner's key.
    name
        The learner's name for people.
    status
        "graded", "refused" or "error".
    exercise
        The id of the exercise.
    version
        The version of the exercise. A grade belongs to this version and to `digest`.
    digest
        The SHA-256 of the submitted files; empty if the submission was refused.
    ids
        The learner's numbers by system.
    late
        Whether Canvas marks the submission as late.
    report
        The report of the grader.
    error
        Why there is no grade.
    validated
        Whether nbval got the same result from the executed notebook; None before it ran.
    seconds
        The time that grading took.
    """

    learner: str
    name: str
    status: ResultStatus
    exercise: str
    version: str
    digest: str = ""
    ids: Mapping[str, str] = field(default_factory=dict[str, str])
    late: bool = False
    report: GradeReport | None = None
    error: str | None = None
    validated: bool | None = None
    seconds: float = 0.0

    @property
    def earned(self) -> float | None:
        """The points that the learner earned; None without a grade, which differs from zero."""
        return self.report.earned if self.status == "graded" and self.report else None

    @property
    def points(self) -> float | None:
        """The points that a correct submission earns; None without a grade."""
        return self.report.points if self.status == "graded" and self.report else None

    def to_json(self) -> dict[str, Any]:
        """Return plain values in the format `learner` of docs/reference/results.schema.json."""
        names = [name for name in self.__slots__ if name not in ("ids", "report")]
        values = {name: getattr(self, name) for name in names}
        report = self.report.to_json() if self.report else None
        return values | {
            "ids": dict(self.ids),
            "earned": self.earned,
            "points": self.points,
            "report": report,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LearnerResult:
        """Create a result from plain values.

        Parameters
        ----------
        value
            A result of `to_json`.

        Raises
        ------
        KeyError or TypeError
            If `value` has another form.
        """
        fields: dict[str, Any] = {name: value[name] for name in cls.__slots__}
        fields["report"] = GradeReport.from_json(value["report"]) if value["report"] else None
        fields["ids"] = dict(value["ids"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class ClassResults:
    """The results of a class.

    Attributes
    ----------
    exercise
        The exercise.
    version
        The version of the exercise.
    results
        The results in order of `learner`.
    ignored
        The names of files that belong to no learner.
    """

    exercise: Exercise
    version: str
    results: tuple[LearnerResult, ...]
    ignored: tuple[str, ...] = ()

    def with_status(self, status: ResultStatus) -> tuple[LearnerResult, ...]:
        """Return the results with a status."""
        return tuple(result for result in self.results if result.status == status)

    @property
    def failed_checks(self) -> tuple[tuple[str, str, int], ...]:
        """The id, the title and the number of failures of each check, the most failures first."""
        graded = [result.report for result in self.with_status("graded") if result.report]
        failed = {check.id: 0 for check in self.exercise.checks}
        for report in graded:
            for check in report.checks:
                failed[check.id] = failed.get(check.id, 0) + (not check.passed)
        titles = {check.id: check.title for check in self.exercise.checks}
        rows = [(name, titles.get(name, name), count) for name, count in failed.items()]
        return tuple(sorted(rows, key=lambda row: (-row[2], row[0])))
