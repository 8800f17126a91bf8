"""Report on each step of a build: why it ran or came from the cache, or what it will do in the next build."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from stagelens.cache import reasons
from stagelens.cache.comparison import BuildComparison, Cause, step_vertices
from stagelens.cache.model import BuildInputs, BuildRecord, FileChange, StepId
from stagelens.cache.reasons import Reason
from stagelens.cache.steps import CacheStep
from stagelens.text import inline

# In a build that is finished, and in a forecast.
StepOutcome = Literal["cached", "ran", "not reached", "not known", "runs", "depends"]
_Sameness = Literal["same", "maybe", "different"]

# Causes whose effect depends on the content of files.
_BY_CONTENT = frozenset({"stage", "image", "remote", "triggers", "input"})
# Causes that leave nothing to compare.
_SETTLED = frozenset({"first", "engine", "new", "unfinished"})
# Mounts whose contents do not count.
_UNCOUNTED = frozenset({"secret", "ssh", "cache"})


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did in a build, or will do in the next one, and why.

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
    outcome
        What happened: "cached" or "ran"; "not reached" if the build failed before; "not known" if the engine
        did not report on the step. In a forecast: "cached", "runs", or "depends" for a step that is cached
        only if the files it uses turn out the same.
    causes
        The reasons why a step runs; none for a cached step.
    root
        The step where the causes began: the earliest one on the way back that cannot come from the cache.
    reason
        The explanation in one or two sentences, for any language.
    seconds
        How long the step took; None in a forecast.
    unnoticed
        The changes of files that BuildKit does not notice: the step uses, or keeps, the old state.
    """

    stage: int
    instruction: int
    line: int
    label: str
    title: str
    outcome: StepOutcome
    causes: tuple[Cause, ...]
    root: StepId | None
    reason: Reason
    seconds: float | None = None
    unnoticed: tuple[FileChange, ...] = ()

    @property
    def why(self) -> str:
        """The reason in English."""
        return str(self.reason)

    @property
    def key(self) -> StepId:
        """The indexes of the stage and the instruction."""
        return self.stage, self.instruction

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the changed files of the context that make this step run."""
        return tuple(change.path for cause in self.causes for change in cause.changes)

    def __str__(self) -> str:
        outcome = "CACHED" if self.outcome == "cached" else self.outcome
        first = f"{outcome:>8}  line {self.line:<3} {inline(self.title)}"
        return f"{first}\n{'':>10}{inline(self.why)}"


def explain(before: BuildRecord | None, after: BuildRecord) -> tuple[StepReport, ...]:
    """Explain each step of a build by comparing it with an earlier build.

    Parameters
    ----------
    before
        The earlier build; None if there is none.
    after
        The build to explain.

    Returns
    -------
    tuple
        A report for each RUN, COPY, ADD and WORKDIR that `after` needed, in the order of the Dockerfile.
    """
    return _Explainer(before, after).reports()


def forecast(before: BuildRecord | None, inputs: BuildInputs) -> tuple[StepReport, ...]:
    """Forecast which steps the next build will run; nothing is built.

    The engine may have more results than those of the earlier build, so a step may come from the cache where
    the forecast has "runs".

    Parameters
    ----------
    before
        The earlier build; None if there is none.
    inputs
        The inputs of the next build.

    Returns
    -------
    tuple
        A report for each RUN, COPY, ADD and WORKDIR that the target needs, in the order of the Dockerfile.
    """
    return _Forecaster(before, inputs).reports()


class _Reporter:
    def __init__(self, before: BuildRecord | None, inputs: BuildInputs) -> None:
        self._comparison = BuildComparison(before, inputs)
        self._inputs = inputs
        self._causes: dict[StepId, tuple[Cause, ...]] = {}

    def reports(self) -> tuple[StepReport, ...]:
        return tuple(map(self._report, self._comparison.steps))

    def _report(self, step: CacheStep) -> StepReport:
        raise NotImplementedError

    def _make_report(
        self, step: CacheStep, outcome: StepOutcome, reason: Reason, seconds: float | None = None
    ) -> StepReport:
        causes = self._causes[step.key]
        unnoticed = (
            () if outcome in ("not reached", "not known") else self._comparison.unnoticed_changes(step)
        )
        if outcome not in ("cached", "depends"):
            # A step that runs copies folders with their new permissions.
            unnoticed = tuple(change for change in unnoticed if change.kind != "mode")
        elif any(mount.get("type") in _UNCOUNTED for mount in step.op.mounts):
            reason += reasons.UNCOUNTED_MOUNTS
        return StepReport(
            *step.key,
            line=step.line,
            label=self._label(step.key),
            title=step.title(),
            outcome=outcome,
            causes=causes,
            root=self._root(step.key) if causes else None,
            reason=reason + reasons.unnoticed_reason(unnoticed),
            seconds=seconds,
            unnoticed=unnoticed,
        )

    def _label(self, key: StepId) -> str:
        return self._inputs.dockerfile.stages[key[0]].label

    def _root(self, key: StepId) -> StepId:
        """Follow the causes of a step back to the earliest step."""
        while True:
            causes = self._causes.get(key, ())
            # A step that differs itself begins a chain, unless an earlier one runs below it.
            edited = any(cause.step is None for cause in causes)
            followed = (c.step for c in causes if c.step is not None and (c.kind == "input" or not edited))
            following = next(followed, None)
            if following is None:
                return key
            key = following

    def _earliest(self, keys: Iterable[StepId]) -> StepId | None:
        """Return the step whose causes began at the earliest step, None without any."""
        return min(keys, key=self._root, default=None)

    def _causes_of_sources(self, step: CacheStep, differs: Callable[[StepId], bool]) -> list[Cause]:
        found = (self._earliest(filter(differs, source.steps)) for source in step.sources)
        return [self._comparison.stage_cause(key) for key in found if key is not None]

    def _in_order(self, causes: Iterable[Cause]) -> tuple[Cause, ...]:
        """Sort causes: those of the step itself, then other steps from the earliest on."""
        return tuple(sorted(causes, key=lambda c: (-1, -1) if c.step is None else self._root(c.step)))


def _with_input(causes: Iterable[Cause], parent: StepId) -> list[Cause]:
    """Add the step that another one builds on, which makes its order unimportant."""
    return [*(cause for cause in causes if cause.kind != "order"), Cause("input", step=parent)]


def _download_causes(step: CacheStep) -> list[Cause]:
    return [Cause("remote", names=(s.url,)) for s in step.sources if s.url is not None and s.pin is None]


class _Explainer(_Reporter):
    def __init__(self, before: BuildRecord | None, after: BuildRecord) -> None:
        super().__init__(before, after.inputs)
        self._vertices = step_vertices(self._comparison.steps, after.trace)
        self._failed = after.trace.failed
        self._direct = {step.key: self._comparison.direct_causes(step) for step in self._comparison.steps}
        self._sameness: dict[StepId, _Sameness] = {}

    def _report(self, step: CacheStep) -> StepReport:
        vertex = self._vertices.get(step.key)
        outcome = self._outcome(step.key)
        self._sameness[step.key] = self._compare_result(step, outcome)
        self._causes[step.key] = self._find_causes(step) if outcome == "ran" else ()
        seconds = vertex.seconds if vertex is not None else None
        return self._make_report(step, outcome, self._reason(step, outcome), seconds)

    def _compare_result(self, step: CacheStep, outcome: StepOutcome) -> _Sameness:
        """Return whether the step's result is the one of the earlier build."""
        if outcome != "cached" or self._direct[step.key]:
            return "different"
        parents = {self._sameness[parent] for parent in step.parents}
        if "different" in parents:
            return "different"
        return "maybe" if "maybe" in parents or self._first_changed(step.source_steps) else "same"

    def _changed(self, key: StepId) -> bool:
        """Return whether the step's result may differ from the earlier build."""
        return self._sameness[key] != "same"

    def _first_changed(self, keys: Sequence[StepId]) -> StepId | None:
        return next(filter(self._changed, keys), None)

    def _find_causes(self, step: CacheStep) -> tuple[Cause, ...]:
        if self._inputs.no_cache:
            return (Cause("no-cache"),)
        found = list(self._direct[step.key])
        if any(cause.kind in _SETTLED for cause in found):
            return tuple(found)
        parent = self._earliest(filter(self._ran, step.parents))
        if parent is not None:
            found = _with_input(found, parent)
        if found:
            return self._in_order([*found, *self._causes_of_sources(step, self._ran)])
        found += [*self._causes_of_sources(step, self._changed), *_download_causes(step)]
        if not found and step.triggers:
            found.append(self._comparison.triggers_cause(step))
        if not found and (parent := self._first_changed(step.parents)) is not None:
            found.append(Cause("input", step=parent))
        return self._in_order(found) or (Cause("dropped"),)

    def _ran(self, key: StepId) -> bool:
        return self._outcome(key) == "ran"

    def _outcome(self, key: StepId) -> StepOutcome:
        vertex = self._vertices.get(key)
        if vertex is not None and vertex.cached:
            return "cached"
        if vertex is not None and vertex.started is not None:
            return "ran"
        return "not reached" if self._failed else "not known"

    def _reason(self, step: CacheStep, outcome: StepOutcome) -> Reason:
        if outcome == "not reached":
            return reasons.NOT_REACHED
        if outcome == "not known":
            return reasons.NOT_KNOWN
        if outcome == "cached":
            return self._cached_reason(step)
        return reasons.run_reason(self._causes[step.key], self._trail, finished=True)

    def _trail(self, key: StepId) -> tuple[CacheStep, tuple[Cause, ...], bool]:
        root = self._root(key)
        return self._comparison.step(root), self._causes.get(root, ()), self._ran(root)

    def _cached_reason(self, step: CacheStep) -> Reason:
        if direct := self._direct[step.key]:
            if all(cause.kind == "stage" for cause in direct):
                return reasons.same_files_reason(direct[0].names[0], ran=False)
            return reasons.cached_reason(direct)
        changed = self._first_changed(step.source_steps)
        if changed is not None:
            return reasons.same_files_reason(self._label(changed), ran=self._ran(changed))
        if step.op.by_content and any(map(self._ran, step.parents)):
            return reasons.SAME_FILES_BELOW
        return reasons.UNCHANGED if self._sameness[step.key] == "same" else reasons.CACHED_BELOW


class _Forecaster(_Reporter):
    def __init__(self, before: BuildRecord | None, inputs: BuildInputs) -> None:
        super().__init__(before, inputs)
        self._outcomes: dict[StepId, StepOutcome] = {}

    def _report(self, step: CacheStep) -> StepReport:
        causes = self._causes[step.key] = self._find_causes(step)
        input_outcome = self._input_outcome(causes)
        outcome = self._outcomes[step.key] = self._expect(step, causes, input_outcome)
        reason = reasons.run_reason(causes, self._trail, finished=False) if causes else reasons.UNCHANGED
        if outcome == "depends" and input_outcome == "runs":
            reason += reasons.MAYBE_SAME_FILES_BELOW
        elif outcome == "depends":
            key = causes[0].step
            source = self._comparison.step(key) if key else None
            reason = reasons.conditional_reason(causes[0], source, self._trail, reason)
        return self._make_report(step, outcome, reason)

    def _find_causes(self, step: CacheStep) -> tuple[Cause, ...]:
        if self._inputs.no_cache and step.keyword != "WORKDIR":
            return (Cause("no-cache"),)  # BuildKit caches a WORKDIR even then
        causes = list(self._comparison.direct_causes(step))
        for outcome in ("runs", "depends"):
            parent = self._earliest(key for key in step.parents if self._outcomes[key] == outcome)
            if parent is not None and (outcome == "runs" or not causes):
                causes = _with_input(causes, parent)
        if causes:
            settled = any(cause.kind in _SETTLED for cause in causes)
            if not settled and self._input_outcome(causes) != "depends":
                causes += self._stage_causes(step, {"runs"})
            return self._in_order(causes)
        causes += [*self._stage_causes(step, {"runs", "depends"}), *_download_causes(step)]
        if any(trigger.upper().startswith(("COPY", "ADD")) for trigger in step.triggers):
            causes.append(self._comparison.triggers_cause(step))
        return self._in_order(causes)

    def _stage_causes(self, step: CacheStep, outcomes: Container[StepOutcome]) -> list[Cause]:
        """Return a cause for each source of files whose steps have one of some outcomes."""
        return self._causes_of_sources(step, lambda key: self._outcomes[key] in outcomes)

    def _input_outcome(self, causes: Sequence[Cause]) -> StepOutcome | None:
        """Return the forecast for the step that another one builds on, if that is a cause."""
        steps = (c.step for c in causes if c.kind == "input" and c.step is not None)
        return next((self._outcomes[key] for key in steps), None)

    def _expect(
        self, step: CacheStep, causes: Sequence[Cause], input_outcome: StepOutcome | None
    ) -> StepOutcome:
        certain = any(cause.kind not in _BY_CONTENT for cause in causes)
        if certain or (input_outcome == "runs" and not step.op.by_content):
            return "runs"
        return "depends" if causes else "cached"

    def _trail(self, key: StepId) -> tuple[CacheStep, tuple[Cause, ...], bool]:
        root = self._root(key)
        return self._comparison.step(root), self._causes[root], True
