"""What a build would take from the cache, said before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stagelens.cache import words
from stagelens.cache.compare import Cause, Comparison
from stagelens.cache.model import BuildRecord, Inputs, Key
from stagelens.cache.sentence import Reason, row
from stagelens.cache.steps import Step

Expected = Literal["cached", "runs", "depends"]

# What a step takes by its content, whatever it comes from.
_UNSURE = frozenset({"stage", "image", "remote", "triggers", "input"})


@dataclass(frozen=True, slots=True)
class StepForecast:
    """What is expected of one step.

    `depends` is said of a step that takes files from a stage that runs again: it comes from the cache if
    they turn out the same. The other fields are those of `StepVerdict`.
    """

    stage: int
    instruction: int
    line: int
    label: str
    title: str
    expected: Expected
    causes: tuple[Cause, ...]
    reason: Reason

    @property
    def why(self) -> str:
        """The reason in English."""
        return str(self.reason)

    @property
    def key(self) -> Key:
        """The indexes of stage and instruction."""
        return self.stage, self.instruction

    def __str__(self) -> str:
        return row(self.expected, self.line, self.title, self.why)


def forecast(before: BuildRecord | None, now: Inputs) -> tuple[StepForecast, ...]:
    """What a build of `now` would do, by what `before` tells; nothing is built.

    The engine may know more than `before` does, from builds before it: then a step that is said to run
    comes from the cache.
    """
    comparison = Comparison(before, now)
    found: dict[Key, StepForecast] = {}
    for step in comparison.steps:
        causes = _causes(comparison, step, found)
        expected = _expected(causes, found)

        def trail(key: Key) -> tuple[Step, tuple[Cause, ...], bool]:
            root = _root(key, found)
            return comparison.step(root), found[root].causes, True

        reason = words.because(causes, trail, over=False) if causes else Reason((words.UNCHANGED,))
        if expected == "depends":
            source = causes[0].step
            reason = words.if_the_same(causes[0], comparison.step(source) if source else None, trail, reason)
        label = now.dockerfile.stages[step.key[0]].label
        found[step.key] = StepForecast(
            *step.key, step.line, label, words.title(step), expected, causes, reason
        )
    return tuple(found.values())


def _causes(comparison: Comparison, step: Step, found: dict[Key, StepForecast]) -> tuple[Cause, ...]:
    if comparison.after.no_cache and step.keyword != "WORKDIR":
        return (Cause("no-cache"),)  # BuildKit keeps WORKDIR cached even then
    causes = list(comparison.direct(step))
    parent = found[step.parent].expected if step.parent is not None else "cached"
    if parent == "runs" or (parent == "depends" and not causes):
        causes.append(Cause("input", step=step.parent))
    if causes:
        return tuple(causes)
    for source in step.sources:
        if source.step is not None and found[source.step].expected != "cached":
            name = comparison.after.dockerfile.stages[source.step[0]].label
            causes.append(Cause("stage", names=(name,), step=source.step))
        if source.remote is not None:
            causes.append(Cause("remote", names=(source.remote,)))
    if any(trigger.upper().startswith(("COPY", "ADD")) for trigger in step.triggers):
        causes.append(comparison.triggers(step))
    return tuple(causes)


def _expected(causes: tuple[Cause, ...], found: dict[Key, StepForecast]) -> Expected:
    for cause in causes:
        sure = cause.kind not in _UNSURE
        if sure or (cause.kind == "input" and cause.step and found[cause.step].expected == "runs"):
            return "runs"
    return "depends" if causes else "cached"


def _root(key: Key, found: dict[Key, StepForecast]) -> Key:
    causes = found[key].causes
    while causes and all(cause.step is not None for cause in causes):
        key = causes[0].step or key
        causes = found[key].causes
    return key
