"""Which step of an earlier Dockerfile a step is: lines are added, removed and edited between builds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from difflib import SequenceMatcher

from stagelens.cache.model import Key
from stagelens.cache.steps import Step
from stagelens.dockerfile import Dockerfile, Stage

# What tells a step from others: its key in the cache, and its op alone.
Marks = Mapping[Key, tuple[Hashable, str]]


def align(former: Mapping[int, int], old: Sequence[Step], new: Sequence[Step]) -> dict[Key, Step]:
    """For each step of `new` that was in `old`, edited or not: the earlier step."""
    ours, theirs = _by_stage(new), _by_stage(old)
    pairs: dict[Key, Step] = {}
    for stage, steps in ours.items():
        earlier = theirs.get(former.get(stage, -1), [])
        pairs |= {steps[i].key: earlier[j] for i, j in _pairs(earlier, steps)}
    return pairs


def former_stages(before: Dockerfile, after: Dockerfile, old: Marks, new: Marks) -> dict[int, int]:
    """Which stage of `before` each stage of `after` was, by their indexes; `old` and `new` mark the steps.

    The one that most of its steps were in, since names mean nothing to the cache; else the one of its name;
    else one with the same instructions; else that in its place among those that are left, from the end.
    """
    found = _by_steps(before, after, old, new)
    for mark in (_name, _body, _place):
        waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
        taken = set[int]() if mark is _name else set(found.values())
        for stage in before.stages:
            if stage.index not in taken:
                waiting[mark(stage)].append(stage.index)
        for stage in reversed(after.stages):
            key = mark(stage)
            if stage.index not in found and key is not None and waiting[key]:
                found[stage.index] = waiting[key].pop()
    return found


def _by_steps(before: Dockerfile, after: Dockerfile, old: Marks, new: Marks) -> dict[int, int]:
    stages: defaultdict[Hashable, set[int]] = defaultdict(set)
    for (stage, _), marks in old.items():
        for mark in marks:
            stages[mark].add(stage)
    shared: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for (stage, _), marks in new.items():
        for mark in marks:
            shared[stage].update(stages.get(mark, ()))
    return {
        stage: max(counts, key=lambda n: (counts[n], before.stages[n].name == after.stages[stage].name))
        for stage, counts in shared.items()
        if counts
    }


def _name(stage: Stage) -> Hashable:
    return stage.name


def _body(stage: Stage) -> Hashable:
    return tuple(instruction.source for instruction in stage.instructions[1:])


def _place(stage: Stage) -> Hashable:
    return ""


def _by_stage(steps: Sequence[Step]) -> Mapping[int, list[Step]]:
    found: defaultdict[int, list[Step]] = defaultdict(list)
    for step in steps:
        found[step.key[0]].append(step)
    return found


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
