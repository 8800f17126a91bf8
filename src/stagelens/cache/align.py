"""Which step of an earlier Dockerfile a step is: lines are added, removed and edited between builds."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from stagelens.cache.model import Key
from stagelens.cache.steps import Step
from stagelens.dockerfile import Dockerfile, Stage


def align(before: Dockerfile, old: Sequence[Step], after: Dockerfile, new: Sequence[Step]) -> dict[Key, Step]:
    """For each step of `new` that was in `old`, edited or not: the earlier step."""
    pairs: dict[Key, Step] = {}
    for stage in after.stages:
        former = _former(stage, before, after)
        if former is not None:
            ours = [step for step in new if step.key[0] == stage.index]
            theirs = [step for step in old if step.key[0] == former.index]
            pairs |= {ours[i].key: theirs[j] for i, j in _pairs(theirs, ours)}
    return pairs


def _former(stage: Stage, before: Dockerfile, after: Dockerfile) -> Stage | None:
    """The stage of that name; for a nameless one that in its place among the nameless, from the end."""
    if stage.name is not None:
        return next((s for s in before.stages if s.name == stage.name), None)
    nameless = [s for s in reversed(before.stages) if s.name is None]
    place = [s.index for s in reversed(after.stages) if s.name is None].index(stage.index)
    return nameless[place] if place < len(nameless) else None


def _pairs(old: Sequence[Step], new: Sequence[Step]) -> list[tuple[int, int]]:
    """Positions (new, old) of the steps that are each other's: equal ones, and edited ones between them."""
    matcher = SequenceMatcher(None, [s.written for s in old], [s.written for s in new], autojunk=False)
    found: list[tuple[int, int]] = []
    for kind, a, a_end, b, b_end in matcher.get_opcodes():
        if kind == "equal":
            found += [(b + n, a + n) for n in range(a_end - a)]
        elif kind == "replace":
            found += _edited(old, new, range(a, a_end), range(b, b_end))
    return found


def _edited(
    old: Sequence[Step], new: Sequence[Step], old_range: range, new_range: range
) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    waiting = list(old_range)
    for i in new_range:
        match = next((j for j in waiting if old[j].keyword == new[i].keyword), None)
        if match is not None:
            found.append((i, match))
            waiting = [j for j in waiting if j > match]
    return found
