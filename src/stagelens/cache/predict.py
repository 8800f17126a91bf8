"""Predict the cache: a learner's marks, instruction by instruction, held against the real build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stagelens.cache.explain import StepVerdict, explain
from stagelens.cache.model import BuildRecord, Inputs, Key
from stagelens.cache.steps import Step, read_steps
from stagelens.cache.words import title


@dataclass(frozen=True, slots=True)
class Question:
    """An instruction to mark: it will be CACHED, or it will run."""

    stage: int
    instruction: int
    line: int
    label: str
    title: str

    @property
    def key(self) -> Key:
        """The indexes of stage and instruction."""
        return self.stage, self.instruction


@dataclass(frozen=True, slots=True)
class Prediction:
    """A learner's marks: True for an instruction that will be CACHED, False for one that will run."""

    marks: Mapping[Key, bool] = field(default_factory=dict[Key, bool])

    @classmethod
    def of_lines(cls, now: Inputs, running: Iterable[int]) -> Prediction:
        """All instructions CACHED but those in the given lines; `()` is what one hopes for."""
        lines = set(running)
        return cls({question.key: question.line not in lines for question in questions(now)})


@dataclass(frozen=True, slots=True)
class MarkedStep:
    """A step's verdict, what was predicted of it (None for no mark), and whether that was right."""

    verdict: StepVerdict
    cached: bool | None

    @property
    def right(self) -> bool:
        """Whether the mark says what happened."""
        return self.cached is not None and self.cached == (self.verdict.outcome == "cached")

    def __str__(self) -> str:
        said = {True: "cached", False: "runs", None: "no mark"}[self.cached]
        sign = "right" if self.right else "wrong"
        return f"{sign}, you said {said}: {self.verdict}"


@dataclass(frozen=True, slots=True)
class Marked:
    """A marked prediction, a row for each step that the build reached, in the order of the Dockerfile."""

    rows: tuple[MarkedStep, ...]

    @property
    def score(self) -> int:
        """How many marks were right."""
        return sum(row.right for row in self.rows)

    @property
    def total(self) -> int:
        """How many steps there were to mark."""
        return len(self.rows)

    def __str__(self) -> str:
        return "\n".join([f"{self.score} of {self.total} right", *map(str, self.rows)])


def questions(now: Inputs) -> tuple[Question, ...]:
    """The instructions of the next build that can come from the cache: RUN, COPY, ADD and WORKDIR."""

    def question(step: Step) -> Question:
        return Question(*step.key, step.line, now.dockerfile.stages[step.key[0]].label, title(step))

    return tuple(question(step) for step in read_steps(now))


def mark(prediction: Prediction, before: BuildRecord | None, after: BuildRecord) -> Marked:
    """Hold a prediction against the build that followed it."""
    verdicts = explain(before, after)
    reached = [verdict for verdict in verdicts if verdict.outcome != "not reached"]
    return Marked(tuple(MarkedStep(v, prediction.marks.get(v.key)) for v in reached))
