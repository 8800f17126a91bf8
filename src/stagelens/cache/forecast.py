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
        expected = _expected(step, causes, found)

        def trail(key: Key) -> tuple[Step, tuple[Cause, ...], bool]:
            root = _root(key, found)
            return comparison.step(root), found[root].causes, True

        reason = words.because(causes, trail, over=False) if causes else Reason((words.UNCHANGED,))
        if expected == "depends" and _below(causes, found) == "runs":
            reason += Reason((words.MAYBE_SAME_BELOW,))
        elif expected == "depends":
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
    for expected in ("runs", "depends"):
        parent = next((key for key in step.parents if found[key].expected == expected), None)
        if parent is not None and (expected == "runs" or not causes):
            # Which steps it follows is the lesser news then.
            causes = [*(cause for cause in causes if cause.kind != "order"), Cause("input", step=parent)]
    if causes:
        return tuple(causes)
    for source in step.sources:
        taken = next((key for key in source.steps if found[key].expected != "cached"), None)
        if taken is not None:
            causes.append(comparison.taken(taken))
        if source.remote is not None:
            causes.append(Cause("remote", names=(source.remote,)))
    if any(trigger.upper().startswith(("COPY", "ADD")) for trigger in step.triggers):
        causes.append(comparison.triggers(step))
    return tuple(causes)


def _expected(step: Step, causes: tuple[Cause, ...], found: dict[Key, StepForecast]) -> Expected:
    sure = any(cause.kind not in _UNSURE for cause in causes)
    if sure or (_below(causes, found) == "runs" and not step.by_content):
        return "runs"
    return "depends" if causes else "cached"


def _below(causes: tuple[Cause, ...], found: dict[Key, StepForecast]) -> Expected | None:
    """What is expected of the step that another one is said to build on."""
    return next((found[c.step].expected for c in causes if c.kind == "input" and c.step is not None), None)


def _root(key: Key, found: dict[Key, StepForecast]) -> Key:
    causes = found[key].causes
    while causes and all(cause.step is not None for cause in causes):
        key = causes[0].step or key
        causes = found[key].causes
    return key
