"""Why each step of a build ran or came from the cache: the trace says which, two records say why.

BuildKit finds a step in its cache by what it is and by what it begins from. Files that are copied count by
their content, so a stage may run again, give the same files, and leave the copy from it cached. A RUN counts
what it begins from as a whole: after a step that ran again, it runs again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stagelens.builds import Vertex
from stagelens.cache import words
from stagelens.cache.compare import Cause, Comparison
from stagelens.cache.identity import vertices
from stagelens.cache.model import BuildRecord, Key
from stagelens.cache.sentence import Reason, row
from stagelens.cache.steps import Step

Outcome = Literal["cached", "ran", "not reached"]
Doubt = Literal["same", "maybe", "other"]


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """What became of one step, and why.

    `stage` and `instruction` are indexes, `line` the Dockerfile's, `label` the stage's name, `title` the
    instruction in a line. `causes` say why a step ran; () for one that came from the cache. `root` is the
    first step on the way back that had a cause of its own. `reason` is all of that in a sentence or two,
    for any language, and `why` the same in English.
    """

    stage: int
    instruction: int
    line: int
    label: str
    title: str
    outcome: Outcome
    seconds: float | None
    causes: tuple[Cause, ...]
    root: Key | None
    reason: Reason

    @property
    def why(self) -> str:
        """The reason in English."""
        return str(self.reason)

    @property
    def key(self) -> Key:
        """The indexes of stage and instruction."""
        return self.stage, self.instruction

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the context that made this step run, by path."""
        return tuple(change.path for cause in self.causes for change in cause.changes)

    def __str__(self) -> str:
        return row(self.outcome, self.line, self.title, self.why)


def explain(before: BuildRecord | None, after: BuildRecord) -> tuple[StepVerdict, ...]:
    """A verdict for each RUN, COPY, ADD and WORKDIR that `after` needed, in the order of the Dockerfile.

    `before` is the build that `after` is compared with, None where there is none.
    """
    return _Explainer(before, after).verdicts()


class _Explainer:
    def __init__(self, before: BuildRecord | None, after: BuildRecord) -> None:
        self._comparison = Comparison(before, after.inputs)
        self._after = after
        self._vertices = vertices(self._comparison.steps, after.trace)
        self._direct = {step.key: self._comparison.direct(step) for step in self._comparison.steps}
        self._causes: dict[Key, tuple[Cause, ...]] = {}
        self._doubts: dict[Key, Doubt] = {}

    def verdicts(self) -> tuple[StepVerdict, ...]:
        return tuple(self._verdict(step) for step in self._comparison.steps)

    def _verdict(self, step: Step) -> StepVerdict:
        vertex = self._vertices.get(step.key)
        outcome = _outcome(vertex)
        self._doubts[step.key] = self._doubt(step, outcome)
        causes = self._causes[step.key] = self._why(step) if outcome == "ran" else ()
        stage = self._after.inputs.dockerfile.stages[step.key[0]]
        return StepVerdict(
            *step.key,
            line=step.line,
            label=stage.label,
            title=words.title(step),
            outcome=outcome,
            seconds=vertex.seconds if vertex is not None else None,
            causes=causes,
            root=self._root(step.key) if outcome == "ran" else None,
            reason=self._reason(step, outcome, causes),
        )

    def _doubt(self, step: Step, outcome: Outcome) -> Doubt:
        """Whether the step's result is the one of the earlier build."""
        if outcome != "cached" or self._direct[step.key]:
            return "other"
        doubts = {self._doubts[parent] for parent in step.parents}
        if "other" in doubts:
            return "other"
        return "maybe" if "maybe" in doubts or self._doubted(step.taken_from) else "same"

    def _doubted(self, keys: Sequence[Key]) -> Key | None:
        """The first of some steps whose result may be another than it was."""
        return next((key for key in keys if self._doubts[key] != "same"), None)

    def _why(self, step: Step) -> tuple[Cause, ...]:
        if self._after.inputs.no_cache:
            return (Cause("no-cache"),)
        found = list(self._direct[step.key])
        settled = {cause.kind for cause in found} & {"first", "engine", "new", "unfinished"}
        ran = next((parent for parent in step.parents if self._ran(parent)), None)
        if ran is not None and not settled:
            # Which steps it follows is the lesser news then.
            found = [*(cause for cause in found if cause.kind != "order"), Cause("input", step=ran)]
        if found:
            return tuple(found)
        for source in step.sources:
            if (taken := self._doubted(source.steps)) is not None:
                found.append(self._comparison.taken(taken))
            if source.remote is not None:
                found.append(Cause("remote", names=(source.remote,)))
        if not found and step.triggers:
            found.append(self._comparison.triggers(step))
        if not found and (parent := self._doubted(step.parents)) is not None:
            found.append(Cause("input", step=parent))
        return tuple(found) or (Cause("dropped"),)

    def _ran(self, key: Key) -> bool:
        return _outcome(self._vertices.get(key)) == "ran"

    def _root(self, key: Key) -> Key:
        """The step where it began: back over steps whose only causes are other steps."""
        while True:
            causes = self._causes.get(key, ())
            following = next((c.step for c in causes if c.step is not None), None)
            if following is None or any(c.step is None for c in causes):
                return key
            key = following

    def _reason(self, step: Step, outcome: Outcome, causes: tuple[Cause, ...]) -> Reason:
        if outcome == "not reached":
            return Reason((words.NOT_REACHED,))
        if outcome == "cached":
            return self._cached(step)
        return words.because(causes, self._trail)

    def _trail(self, key: Key) -> tuple[Step, tuple[Cause, ...], bool]:
        root = self._root(key)
        return self._comparison.step(root), self._causes.get(root, ()), self._ran(root)

    def _cached(self, step: Step) -> Reason:
        changed = self._doubted(step.taken_from)
        if direct := self._direct[step.key]:
            stage = direct[0].names[0] if all(cause.kind == "stage" for cause in direct) else None
            return words.known(direct) if stage is None else Reason((words.same_files(stage, ran=False),))
        if changed is not None:
            name = self._after.inputs.dockerfile.stages[changed[0]].label
            return Reason((words.same_files(name, ran=self._ran(changed)),))
        if step.by_content and any(map(self._ran, step.parents)):
            return Reason((words.SAME_BELOW,))
        return Reason((words.UNCHANGED if self._doubts[step.key] == "same" else words.KNOWN,))


def _outcome(vertex: Vertex | None) -> Outcome:
    if vertex is None:
        return "not reached"
    if vertex.cached:
        return "cached"
    return "ran" if vertex.started is not None else "not reached"
