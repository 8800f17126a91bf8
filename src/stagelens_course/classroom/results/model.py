"""The result of one learner, and of a class: frozen values that go to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stagelens_course.grading.model import Exercise, Report

SCHEMA = 1
# graded: there is a grade. refused: the submission was not let in. error: the grader failed.
Status = Literal["graded", "refused", "error"]


@dataclass(frozen=True, slots=True)
class Result:
    """One learner's result. `earned` and `points` are None without a grade, which is not zero.

    digest: sha256 of the submitted files, "" where they were refused. version: of the exercise; the two are
    what a grade belongs to. validated: whether nbval ran the executed notebook again with the same result;
    None before it did. seconds: what grading took.
    """

    learner: str
    name: str
    status: Status
    exercise: str
    version: str
    digest: str = ""
    ids: Mapping[str, str] = field(default_factory=dict[str, str])
    late: bool = False
    report: Report | None = None
    error: str | None = None
    validated: bool | None = None
    seconds: float = 0.0

    @property
    def earned(self) -> float | None:
        """The points that were earned."""
        return self.report.earned if self.status == "graded" and self.report else None

    @property
    def points(self) -> float | None:
        """The points that could be earned."""
        return self.report.points if self.status == "graded" and self.report else None

    def to_json(self) -> dict[str, Any]:
        """As plain values; the format is docs/results.schema.json's `learner`."""
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
    def from_json(cls, value: Mapping[str, Any]) -> Result:
        """What `to_json` made.

        Raises
        ------
        KeyError, TypeError: it is something else.
        """
        fields: dict[str, Any] = {name: value[name] for name in cls.__slots__}
        fields["report"] = Report.from_json(value["report"]) if value["report"] else None
        fields["ids"] = dict(value["ids"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class ClassResults:
    """All results of a class, in order of `learner`. ignored: names of files that were nobody's."""

    exercise: Exercise
    version: str
    results: tuple[Result, ...]
    ignored: tuple[str, ...] = ()

    def of(self, status: Status) -> tuple[Result, ...]:
        """The results of that status."""
        return tuple(result for result in self.results if result.status == status)

    @property
    def failed_checks(self) -> tuple[tuple[str, str, int], ...]:
        """(id, title, learners who failed it) of each check, the most failed first."""
        graded = [result.report for result in self.of("graded") if result.report]
        failed = {check.id: 0 for check in self.exercise.checks}
        for report in graded:
            for check in report.checks:
                failed[check.id] = failed.get(check.id, 0) + (not check.passed)
        titles = {check.id: check.title for check in self.exercise.checks}
        rows = [(name, titles.get(name, name), count) for name, count in failed.items()]
        return tuple(sorted(rows, key=lambda row: (-row[2], row[0])))
