"""Causes as sentences that a learner understands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stagelens.cache.compare import Cause, CauseKind
from stagelens.cache.model import ChangeKind, FileChange, Key
from stagelens.cache.sentence import Reason, Sentence, say
from stagelens.cache.steps import Step

# From a step that another one depends on: the step where that began, its causes, and whether it runs again.
Trail = Callable[[Key], tuple[Step, Sequence[Cause], bool]]

NOT_REACHED = say("The build ended before this step.")
UNCHANGED = say("Nothing that this step depends on has changed.")
KNOWN = say("What it builds on came from the cache, and so did this step.")
SAME_BELOW = say("What it builds on ran again and gave the same files, so this step stayed cached.")
MAYBE_SAME_BELOW = say("If that gives the same files, an engine may keep this step cached.")
_LISTED = 3
# Of one file, and of several.
_CHANGES: dict[ChangeKind, tuple[Sentence, Sentence]] = {
    "added": (say("{path} is new."), say("{n} files are new: {paths}.")),
    "removed": (
        say("{path} is no longer in the build context."),
        say("{n} files are no longer in the build context: {paths}."),
    ),
    "content": (say("{path} has other content."), say("{n} files have other content: {paths}.")),
    "mode": (say("{path} has other permissions."), say("{n} files have other permissions: {paths}.")),
    "kind": (say("{path} is of another type."), say("{n} files are of another type: {paths}.")),
    "target": (say("{path} is a link to elsewhere."), say("{n} files are a link to elsewhere: {paths}.")),
}
_FIXED: dict[CauseKind, Sentence] = {
    "no-cache": say("The build was told not to use the cache."),
    "first": say("No earlier build of this project is known to compare with."),
    "engine": say("The earlier build was on another engine, and each engine has a cache of its own."),
    "new": say("This instruction was not in the Dockerfile of the build before."),
    "unfinished": say("The build before did not get this far."),
    "instruction": say("The instruction itself was edited."),
    "network": say("The build's network mode changed, which every RUN depends on."),
    "platform": say("The build is for another platform."),
    "order": say("It follows another instruction than before."),
    "variables": say("Its variables are the same, but set in another order."),
    "dropped": say(
        "Nothing that is known of it has changed: the engine no longer has its result "
        "(its cache was pruned or grew too large)."
    ),
}
_NAMED: dict[CauseKind, Sentence] = {
    "variable": say("The variable {names} has another value, and this step sees it."),
    "setting": say("{names} is another than before."),
    "base": say("The base image {names} is another than before."),
    "image": say("The image {names}, which it copies from, is another than before."),
    "remote": say("What {names} serves is not what it was, or could not be compared."),
    "triggers": say(
        "{names} brings instructions along (ONBUILD) that are not what they were, or could not be compared."
    ),
}
# What a forecast says of a cause that names no step.
_IF_THE_SAME: dict[CauseKind, Sentence] = {
    "remote": say("If it is the same, this step stays cached."),
    "triggers": say("If they give the same, this step stays cached."),
}
_SAME_FILES = say("If that gives the same files, this copy stays cached.")
# Whether the build is over, and whether the step ran before: the step that another one builds on …
_WHICH = {
    (True, False): say("which ran"),
    (True, True): say("which ran again"),
    (False, False): say("which runs"),
    (False, True): say("which runs again"),
}
# … and the step that made other files.
_BEGAN = {
    (True, False): say("{place} ran"),
    (True, True): say("{place} ran again"),
    (False, False): say("{place} runs"),
    (False, True): say("{place} runs again"),
}


def title(step: Step, limit: int = 100) -> str:
    """The instruction in one line."""
    text = " ".join(step.written.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def place(step: Step) -> Sentence:
    """The step as other sentences name it."""
    return say("line {line} ({title})", line=str(step.line), title=title(step, 60))


def because(causes: Sequence[Cause], trail: Trail, *, over: bool = True) -> Reason:
    """Why a step cannot come from the cache; `trail` leads from a step to where that began.

    `over`: the build has been; else it is foretold.
    """
    own = any(cause.step is None for cause in causes)
    return Reason(tuple(_one(cause, trail, over, short=own) for cause in causes))


def if_the_same(cause: Cause, source: Step | None, trail: Trail, why: Reason) -> Reason:
    """What only a build can tell: `source` is the step that it hangs on, if any; `why` is said before it."""
    if source is None:
        return why + Reason((_IF_THE_SAME.get(cause.kind, _SAME_FILES),))
    if cause.kind == "input":
        return Reason((say("It builds on {place}, and is cached if that is.", place=place(source)),))
    root, causes, _ = trail(source.key)
    names, reasons = _listed(cause.names), _own(causes)
    begun = say(
        "Stage {names} runs again from {place}{reasons}.", names=names, place=place(root), reasons=reasons
    )
    return Reason((begun, _SAME_FILES))


def known(causes: Sequence[Cause]) -> Reason:
    """Why a step came from the cache although it is not what it was."""
    if causes[0].kind in ("first", "engine", "new", "unfinished"):
        return Reason((say("The engine knew this very step on the same files already, from another build."),))
    if all(cause.kind == "image" for cause in causes):
        return Reason((_one(causes[0], None, over=True), say("But what is taken from it is the same.")))
    still = say("But the engine still knows this result from an earlier build.")
    return Reason((_one(causes[0], None, over=True), still))


def same_files(stage: str, *, ran: bool) -> Sentence:
    """Why a copy from a stage that is not what it was came from the cache."""
    if ran:
        return say("Stage {stage} ran again and gave the same files, so the copy stayed cached.", stage=stage)
    return say(
        "Stage {stage} changed, but the files that are taken from it are ones that the engine knows.",
        stage=stage,
    )


def changed_files(changes: Sequence[FileChange]) -> Sentence:
    """What happened to files of the context."""
    one, many = _CHANGES[changes[0].kind]
    if len(changes) == 1:
        return one.of(path=changes[0].path)
    if len({change.kind for change in changes}) > 1:
        many = say("{n} files changed: {paths}.")
    return many.of(n=str(len(changes)), paths=_listed([change.path for change in changes]))


def _listed(names: Sequence[str]) -> str | Sentence:
    shown = ", ".join(names[:_LISTED])
    more = len(names) - _LISTED
    return shown if more <= 0 else say("{names} and {n} more", names=shown, n=str(more))


def _one(cause: Cause, trail: Trail | None, over: bool, *, short: bool = False) -> Sentence:
    if cause.kind in _FIXED:
        return _FIXED[cause.kind]
    names = _listed(cause.names)
    if cause.kind in _NAMED:
        at = names if cause.line is None else say("{names} (line {line})", names=names, line=str(cause.line))
        return _NAMED[cause.kind].of(names=at)
    match cause.kind:
        case "files":
            return changed_files(cause.changes)
        case "build-arg" if len(cause.names) == 1:
            return say("The build argument {names} has another value.", names=names)
        case "build-arg":
            return say("Build arguments have other values: {names}.", names=names)
        case "stage":
            began = _began(cause, trail, over)
            return say(
                "It copies other files from stage {names} than before{reasons}.", names=names, reasons=began
            )
        case _:
            return _built_on(cause, trail, over, short=short)


def _began(cause: Cause, trail: Trail | None, over: bool) -> Reason:
    """The step of another stage where the difference began."""
    if cause.step is None or trail is None:
        return Reason()
    root, causes, again = trail(cause.step)
    if not again:
        return Reason()
    ran = _BEGAN[over, _ran_before(causes)].of(place=place(root))
    return Reason((say("{ran}{reasons}.", ran=ran, reasons=_own(causes)),))


def _built_on(cause: Cause, trail: Trail | None, over: bool, *, short: bool) -> Sentence:
    """`short`: another cause was told before this one, so the reasons are left out."""
    if cause.step is None or trail is None:
        return say("It builds on another step.")
    root, causes, again = trail(cause.step)
    if not again:
        return say("It builds on {place}, which is not what it was in the build before.", place=place(root))
    which = _WHICH[over, _ran_before(causes)]
    if short:
        return say("It also builds on {place}, {which}.", place=place(root), which=which)
    return say(
        "It builds on {place}, {which}{reasons}.", place=place(root), which=which, reasons=_own(causes)
    )


def _ran_before(causes: Sequence[Cause]) -> bool:
    return not any(cause.kind in ("new", "first", "unfinished") for cause in causes)


def _own(causes: Sequence[Cause]) -> Reason:
    """What is said of a step itself, whatever became of those that it depends on."""
    return Reason(tuple(_one(other, None, over=True) for other in causes if other.step is None))
