"""Describe causes in sentences for any language: the English texts are the keys of a gettext catalog.

This module does not translate. The caller of `Reason.render` passes a translation; the catalogs are in
`stagelens/views/locale`, which collects every text that is an argument of `sentence`.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stagelens.cache.comparison import Cause, CauseKind
from stagelens.cache.model import ChangeKind, FileChange, StepId
from stagelens.cache.steps import CacheStep

Translate: TypeAlias = Callable[[str], str]

# First words of our sentences that are not names: lower case after a colon.
_LOWERED = frozenset({"The", "This", "None", "It", "No", "Build"})


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text with `{placeholders}` and their values: plain text, sentences, or a reason after a colon."""

    text: str
    values: tuple[tuple[str, str | Sentence | Reason], ...] = ()

    def fill(self, **values: str | Sentence | Reason) -> Sentence:
        """Return the sentence with values for its placeholders."""
        return Sentence(self.text, (*self.values, *values.items()))

    def render(self, translate: Translate = str) -> str:
        """Return the text in another language, with its values filled in."""
        values = {name: _render_value(value, translate) for name, value in self.values}
        return translate(self.text).format(**values)


@dataclass(frozen=True, slots=True)
class Reason:
    """Sentences in a row; none if there is nothing to explain."""

    sentences: tuple[Sentence, ...] = ()

    def render(self, translate: Translate = str) -> str:
        """Return the sentences in one line, in another language."""
        return " ".join(sentence.render(translate) for sentence in self.sentences)

    def __str__(self) -> str:
        return self.render()

    def __bool__(self) -> bool:
        return bool(self.sentences)

    def __add__(self, other: Reason) -> Reason:
        return Reason(self.sentences + other.sentences)


def sentence(text: str, **values: str | Sentence | Reason) -> Sentence:
    """Create a sentence; `text` must be a literal, so that the catalog's update finds it."""
    return Sentence(text).fill(**values)


def _render_value(value: str | Sentence | Reason, translate: Translate) -> str:
    if isinstance(value, Reason):
        return _after_colon(value.render(translate))
    return value.render(translate) if isinstance(value, Sentence) else value


def _after_colon(text: str) -> str:
    """Turn a reason into the end of another sentence, which has its own full stop."""
    first = text.split(" ")[0]
    lowered = text[:1].lower() + text[1:] if first in _LOWERED else text
    return f": {lowered.rstrip('.')}" if text else ""


# For a step: the step where its causes began, the causes of that one, and whether it runs again.
Trail = Callable[[StepId], tuple[CacheStep, Sequence[Cause], bool]]

NOT_KNOWN = Reason((sentence("The engine did not report on this step."),))
NOT_REACHED = Reason((sentence("The build ended before this step."),))
UNCHANGED = Reason((sentence("Nothing that this step depends on has changed."),))
CACHED_BELOW = Reason((sentence("The step that it builds on came from the cache, and so did this step."),))
SAME_FILES_BELOW = Reason(
    (
        sentence(
            "The step that it builds on ran again and produced the same files, so this step stayed cached."
        ),
    )
)
MAYBE_SAME_FILES_BELOW = Reason(
    (sentence("If that step produces the same files, the engine may keep this step cached."),)
)
_LISTED = 3
# For one file, and for several.
_CHANGES: dict[ChangeKind, tuple[Sentence, Sentence]] = {
    "added": (sentence("{path} is new."), sentence("{n} files are new: {paths}.")),
    "removed": (
        sentence("{path} is no longer in the build context."),
        sentence("{n} files are no longer in the build context: {paths}."),
    ),
    "content": (
        sentence("{path} has different content."),
        sentence("{n} files have different content: {paths}."),
    ),
    "mode": (
        sentence("{path} has different permissions."),
        sentence("{n} files have different permissions: {paths}."),
    ),
    "kind": (sentence("{path} has a different type."), sentence("{n} files have a different type: {paths}.")),
    "target": (
        sentence("{path} links to a different target."),
        sentence("{n} files link to a different target: {paths}."),
    ),
    "xattrs": (
        sentence("{path} has different extended attributes."),
        sentence("{n} files have different extended attributes: {paths}."),
    ),
}
# What BuildKit does not notice about files of the context.
_UNNOTICED: dict[ChangeKind, Sentence] = {
    "content": sentence(
        "BuildKit does not notice the new content of {paths}, because size and time are the same, and uses "
        "the old content. Run `{command}` and build again."
    ),
    "xattrs": sentence(
        "BuildKit does not notice the new extended attributes of {paths}, because size and time are the "
        "same, and uses the old ones. Run `{command}` and build again."
    ),
    "mode": sentence(
        "BuildKit does not notice new permissions of folders: in the image, {paths} may have the old ones. "
        "Build once without the cache (--no-cache)."
    ),
}
UNCOUNTED_MOUNTS = Reason(
    (sentence("The contents of secrets, SSH agents and cache mounts do not count for the cache."),)
)
_FIXED: dict[CauseKind, Sentence] = {
    "no-cache": sentence("The cache was turned off for the build."),
    "first": sentence("No earlier build of this project is known to compare with."),
    "engine": sentence("The earlier build ran on another engine, and each engine has a separate cache."),
    "new": sentence("The previous Dockerfile does not have this instruction."),
    "unfinished": sentence("The previous build did not reach this step."),
    "instruction": sentence("The instruction itself was edited."),
    "network": sentence("The build's network mode changed, which every RUN depends on."),
    "platform": sentence("The build is for another platform."),
    "order": sentence("It follows a different instruction than before."),
    "variables": sentence("Its variables have the same values, but are set in a different order."),
    "dropped": sentence(
        "None of its known inputs changed: the engine no longer has its result "
        "(its cache was pruned or grew too large)."
    ),
}
_NAMED: dict[CauseKind, Sentence] = {
    "variable": sentence("The variable {names} has a different value, and this step sees it."),
    "setting": sentence("{names} is different than before."),
    "context": sentence("It builds on the files of build context {names}, which the engine never caches."),
    "base": sentence("The base image {names} is different than before."),
    "image": sentence("The image {names}, which it copies from, is different than before."),
    "remote": sentence("The download from {names} changed, or could not be compared."),
    "triggers": sentence("The ONBUILD instructions of {names} changed, or could not be compared."),
}
# For causes without a step, in a forecast.
_STAYS_CACHED: dict[CauseKind, Sentence] = {
    "remote": sentence("If the download is the same, this step stays cached."),
    "triggers": sentence("If their results are the same, this step stays cached."),
}
_COPY_STAYS_CACHED = sentence("If the copied files are the same, this copy stays cached.")
# By whether the build is finished, and whether the step ran before: the step that another one builds on …
_WHICH_RAN = {
    (True, False): sentence("which ran"),
    (True, True): sentence("which ran again"),
    (False, False): sentence("which runs"),
    (False, True): sentence("which runs again"),
}
# … and the step that made different files.
_STEP_RAN = {
    (True, False): sentence("{step} ran"),
    (True, True): sentence("{step} ran again"),
    (False, False): sentence("{step} runs"),
    (False, True): sentence("{step} runs again"),
}
_STAGE_RUNS = {
    False: sentence("Stage {names} runs again from {step}{reasons}."),
    True: sentence("Stage {names} ran again from {step}{reasons}."),
}


def run_reason(causes: Sequence[Cause], trail: Trail, *, finished: bool) -> Reason:
    """Describe why a step cannot come from the cache.

    Parameters
    ----------
    causes
        The causes of the step.
    trail
        A function that follows a step back to where its causes began.
    finished
        Whether the build is finished rather than forecast.
    """
    direct = any(cause.step is None for cause in causes)
    # Only if nothing else explains a run, the copied files must differ.
    differ = finished and all(cause.kind == "stage" for cause in causes)
    return Reason(
        tuple(
            _describe_stage(cause, trail, finished, short=direct)
            if cause.kind == "stage" and cause.step is not None and not differ
            else _describe(cause, trail, finished, short=direct)
            for cause in causes
        )
    )


def unnoticed_reason(changes: Sequence[FileChange], folder: str = "") -> Reason:
    """Describe changes of files that BuildKit does not notice, with a remedy.

    Parameters
    ----------
    changes
        The changes.
    folder
        The context's folder, for the paths in the remedy.
    """
    found: list[Sentence] = []
    for kind, text in _UNNOTICED.items():
        paths = [change.path for change in changes if change.kind == kind]
        if paths:
            command = shlex.join(["touch", *(posixpath.join(folder, path) for path in paths)])
            found.append(text.fill(paths=_list(paths), command=command))
    return Reason(tuple(found))


def conditional_reason(cause: Cause, source: CacheStep | None, trail: Trail, reason: Reason) -> Reason:
    """Describe when a step stays cached, if only a build can tell.

    Parameters
    ----------
    cause
        The first cause of the step.
    source
        The step that the cause refers to, if any.
    trail
        A function that follows a step back to where its causes began.
    reason
        The description of the causes.
    """
    if source is None:
        return reason + Reason((_STAYS_CACHED.get(cause.kind, _COPY_STAYS_CACHED),))
    if cause.kind == "input":
        return Reason(
            (sentence("It builds on {step} and is cached if that step is.", step=_reference(source)),)
        )
    return Reason((_describe_stage(cause, trail, finished=False, short=False), _COPY_STAYS_CACHED))


def cached_reason(causes: Sequence[Cause]) -> Reason:
    """Describe why a step came from the cache although it differs from the previous build."""
    if causes[0].kind in ("first", "engine", "new", "unfinished"):
        known = sentence("The engine already had the result of this step on the same files.")
        return Reason((known,))
    if all(cause.kind in ("image", "remote") for cause in causes):
        same = sentence("But the copied files are the same.")
        return Reason((_describe(causes[0], None, finished=True), same))
    still = sentence("But the engine still has this result from an earlier build.")
    return Reason((_describe(causes[0], None, finished=True), still))


def same_files_reason(stage: str, *, ran: bool) -> Reason:
    """Describe why a copy from a changed stage came from the cache.

    Parameters
    ----------
    stage
        The label of the stage.
    ran
        Whether the stage ran again.
    """
    if ran:
        text = sentence(
            "Stage {stage} ran again and produced the same files, so the copy stayed cached.", stage=stage
        )
    else:
        text = sentence(
            "Stage {stage} changed, but the engine already has a result for the copied files.", stage=stage
        )
    return Reason((text,))


def _describe(cause: Cause, trail: Trail | None, finished: bool, *, short: bool = False) -> Sentence:
    if cause.kind in _FIXED:
        return _FIXED[cause.kind]
    names = _list(cause.names)
    if cause.kind in _NAMED:
        line = cause.line
        at = names if line is None else sentence("{names} (line {line})", names=names, line=str(line))
        return _NAMED[cause.kind].fill(names=at)
    match cause.kind:
        case "files":
            return _describe_changes(cause.changes)
        case "build-arg" if len(cause.names) == 1:
            return sentence("The build argument {names} has a different value.", names=names)
        case "build-arg":
            return sentence("Build arguments have different values: {names}.", names=names)
        case "stage":
            return sentence(
                "It copies different files from stage {names} than before{reasons}.",
                names=names,
                reasons=_stage_reason(cause, trail, finished),
            )
        case _:
            return _describe_input(cause, trail, finished, short=short)


def _describe_changes(changes: Sequence[FileChange]) -> Sentence:
    one, many = _CHANGES[changes[0].kind]
    if len(changes) == 1:
        return one.fill(path=changes[0].path)
    if len({change.kind for change in changes}) > 1:
        many = sentence("{n} files changed: {paths}.")
    return many.fill(n=str(len(changes)), paths=_list([change.path for change in changes]))


def _list(names: Sequence[str]) -> str | Sentence:
    shown = ", ".join(names[:_LISTED])
    more = len(names) - _LISTED
    return shown if more <= 0 else sentence("{names} and {n} more", names=shown, n=str(more))


def _reference(step: CacheStep) -> Sentence:
    return sentence("line {line} ({title})", line=str(step.line), title=step.title(60))


def _stage_reason(cause: Cause, trail: Trail | None, finished: bool) -> Reason:
    """Describe the step of another stage where the difference began."""
    if cause.step is None or trail is None:
        return Reason()
    root, causes, again = trail(cause.step)
    if not again:
        return Reason()
    ran = _STEP_RAN[finished, _ran_before(causes)].fill(step=_reference(root))
    return Reason((sentence("{ran}{reasons}.", ran=ran, reasons=_direct_reason(causes)),))


def _describe_stage(cause: Cause, trail: Trail, finished: bool, *, short: bool) -> Sentence:
    """Describe where a stage begins to run again; `short` leaves out the reasons after another cause."""
    assert cause.step is not None
    root, causes, _ = trail(cause.step)
    return _STAGE_RUNS[finished].fill(
        names=_list(cause.names),
        step=_reference(root),
        reasons=Reason() if short else _direct_reason(causes),
    )


def _describe_input(cause: Cause, trail: Trail | None, finished: bool, *, short: bool) -> Sentence:
    """Describe the step that another one builds on; `short` leaves out the reasons after another cause."""
    if cause.step is None or trail is None:
        return sentence("It builds on another step.")
    root, causes, again = trail(cause.step)
    step = _reference(root)
    if not again:
        return sentence("It builds on {step}, which differs from the previous build.", step=step)
    which = _WHICH_RAN[finished, _ran_before(causes)]
    if short:
        return sentence("It also builds on {step}, {which}.", step=step, which=which)
    reasons = _direct_reason(causes)
    return sentence("It builds on {step}, {which}{reasons}.", step=step, which=which, reasons=reasons)


def _ran_before(causes: Sequence[Cause]) -> bool:
    return not any(cause.kind in ("new", "first", "unfinished") for cause in causes)


def _direct_reason(causes: Sequence[Cause]) -> Reason:
    """Describe the causes of a step itself, without the steps that it depends on."""
    return Reason(tuple(_describe(cause, None, finished=True) for cause in causes if cause.step is None))
