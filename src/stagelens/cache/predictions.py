"""Predict the cache: a learner's choice for each step, marked against the real build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stagelens.cache.model import BuildInputs, BuildRecord, StepId
from stagelens.cache.reports import StepReport, explain
from stagelens.cache.steps import CacheStep, read_steps


@dataclass(frozen=True, slots=True)
class PredictableStep:
    """A step of the next build that will either be cached or run.

    Attributes
    ----------
    stage, instruction
        The indexes of the stage and the instruction.
    line
        The line in the Dockerfile.
    label
        The label of the stage.
    title
        The instruction in one line.
    """

    stage: int
    instruction: int
    line: int
    label: str
    title: str

    @property
    def key(self) -> StepId:
        """The indexes of the stage and the instruction."""
        return self.stage, self.instruction


@dataclass(frozen=True, slots=True)
class Prediction:
    """A learner's prediction: True for a step that will be cached, False for one that will run."""

    marks: Mapping[StepId, bool] = field(default_factory=dict[StepId, bool])

    @classmethod
    def of_lines(cls, inputs: BuildInputs, running: Iterable[int]) -> Prediction:
        """Predict that only the steps in some lines will run.

        Parameters
        ----------
        inputs
            The inputs of the next build.
        running
            The lines of the steps that will run.
        """
        lines = set(running)
        return cls({step.key: step.line not in lines for step in predictable_steps(inputs)})


@dataclass(frozen=True, slots=True)
class MarkedStep:
    """A step's report next to its prediction.

    Attributes
    ----------
    report
        What the step did.
    cached
        Whether it was predicted to be cached; None without a prediction.
    """

    report: StepReport
    cached: bool | None

    @property
    def right(self) -> bool:
        """Whether the prediction is right."""
        return self.cached is not None and self.cached == (self.report.outcome == "cached")

    def __str__(self) -> str:
        said = {True: "cached", False: "runs", None: "no mark"}[self.cached]
        sign = "right" if self.right else "wrong"
        return f"{sign}, you said {said}: {self.report}"


@dataclass(frozen=True, slots=True)
class MarkedPrediction:
    """A marked prediction: a row for each step that the build reached, in the order of the Dockerfile."""

    rows: tuple[MarkedStep, ...]

    @property
    def score(self) -> int:
        """The number of right predictions."""
        return sum(row.right for row in self.rows)

    @property
    def total(self) -> int:
        """The number of steps."""
        return len(self.rows)

    def __str__(self) -> str:
        return "\n".join([f"{self.score} of {self.total} right", *map(str, self.rows)])


def predictable_steps(inputs: BuildInputs) -> tuple[PredictableStep, ...]:
    """Return the steps of the next build that can come from the cache: RUN, COPY, ADD and WORKDIR."""

    def predictable(step: CacheStep) -> PredictableStep:
        label = inputs.dockerfile.stages[step.key[0]].label
        return PredictableStep(*step.key, step.line, label, step.title())

    return tuple(map(predictable, read_steps(inputs)))


def mark_prediction(
    prediction: Prediction, before: BuildRecord | None, after: BuildRecord
) -> MarkedPrediction:
    """Compare a prediction with the build that followed it.

    Parameters
    ----------
    prediction
        The learner's prediction.
    before
        The build before; None if there is none.
    after
        The build that was predicted.
    """
    reached = [report for report in explain(before, after) if report.outcome in ("cached", "ran")]
    return MarkedPrediction(tuple(MarkedStep(r, prediction.marks.get(r.key)) for r in reached))
