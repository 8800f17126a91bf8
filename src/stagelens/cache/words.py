"""Causes as sentences that a learner understands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stagelens.cache.compare import Cause
from stagelens.cache.model import FileChange, Key
from stagelens.cache.steps import Step

# From a step that another one depends on: the step where that began, its causes, and whether it runs again.
Trail = Callable[[Key], tuple[Step, Sequence[Cause], bool]]

NOT_REACHED = "The build ended before this step."
UNCHANGED = "Nothing that this step depends on has changed."
KNOWN = "What it builds on came from the cache, and so did this step."
_LISTED = 3
_CHANGES = {
    "added": "is new",
    "removed": "is no longer in the build context",
    "content": "has other content",
    "mode": "has other permissions",
    "kind": "is of another type",
    "target": "is a link to elsewhere",
}
_FIXED = {
    "no-cache": "The build was told not to use the cache.",
    "first": "No earlier build of this project is known to compare with.",
    "engine": "The earlier build was on another engine, and each engine has a cache of its own.",
    "new": "This instruction was not in the Dockerfile of the build before.",
    "unfinished": "The build before did not get this far.",
    "instruction": "The instruction itself was edited.",
    "network": "The build's network mode changed, which every RUN depends on.",
    "platform": "The build is for another platform.",
    "order": "It follows another instruction than before.",
    "dropped": (
        "Nothing that is known of it has changed: the engine no longer has its result "
        "(its cache was pruned or grew too large)."
    ),
}


def title(step: Step, limit: int = 100) -> str:
    """The instruction in one line."""
    text = " ".join(step.written.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def place(step: Step) -> str:
    """The step as other sentences name it."""
    return f"line {step.line} ({title(step, 60)})"


def because(causes: Sequence[Cause], trail: Trail, ran: str = "ran") -> str:
    """Why a step cannot come from the cache; `trail` leads from a step to where that began."""
    own = any(cause.step is None for cause in causes)
    sentences = [_one(cause, trail, ran, short=own) for cause in causes]
    return " ".join(sentences)


def if_the_same(cause: Cause, source: Step | None, trail: Trail, why: str) -> str:
    """What only a build can tell: `source` is the step that it hangs on; `why` is said of a download."""
    if source is None:
        return f"{why} If it is the same, this step stays cached."
    if cause.kind == "input":
        return f"It builds on {place(source)}, and is cached if that is."
    root, causes, _ = trail(source.key)
    begun = f"Stage {listed(cause.names)} runs again from {place(root)}{_reasons(causes)}."
    return f"{begun} If that gives the same files, this copy stays cached."


def known(causes: Sequence[Cause]) -> str:
    """Why a step came from the cache although it is not what it was."""
    if causes[0].kind in ("first", "engine", "new", "unfinished"):
        return "The engine knew this very step on the same files already, from another build."
    return f"{_one(causes[0], None, 'ran')} But the engine still knows this result from an earlier build."


def same_files(stage: str, *, ran: bool) -> str:
    """Why a copy from a stage that is not what it was came from the cache."""
    if ran:
        return f"Stage {stage} ran again and gave the same files, so the copy stayed cached."
    return f"Stage {stage} changed, but the files that are taken from it are ones that the engine knows."


def listed(names: Sequence[str]) -> str:
    """Some names and how many more there are."""
    shown = ", ".join(names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


def changed_files(changes: Sequence[FileChange]) -> str:
    """What happened to files of the context."""
    if len(changes) == 1:
        return f"{changes[0].path} {_CHANGES[changes[0].kind]}."
    kinds = {change.kind for change in changes}
    paths = listed([change.path for change in changes])
    if len(kinds) == 1:
        verb = _CHANGES[changes[0].kind].replace("is ", "are ", 1).replace("has ", "have ", 1)
        return f"{len(changes)} files {verb}: {paths}."
    return f"{len(changes)} files changed: {paths}."


def _one(cause: Cause, trail: Trail | None, ran: str, *, short: bool = False) -> str:
    if cause.kind in _FIXED:
        return _FIXED[cause.kind]
    names = listed(cause.names)
    where = f" (line {cause.line})" if cause.line is not None else ""
    match cause.kind:
        case "files":
            return changed_files(cause.changes)
        case "build-arg":
            if len(cause.names) == 1:
                return f"The build argument {names} has another value."
            return f"Build arguments have other values: {names}."
        case "variable":
            return f"The variable {names}{where} has another value, and this step sees it."
        case "setting":
            return f"{names}{where} is another than before."
        case "base":
            return f"The base image {names}{where} is another than before."
        case "image":
            return f"The image {names}, which it copies from, is another than before."
        case "remote":
            return f"What {names} serves is not what it was, or could not be compared."
        case "stage":
            return f"It copies other files from stage {names} than before{_copied(cause, trail, ran)}."
        case _:
            also = "It also builds" if short else "It builds"
            return f"{also} on {_built_on(cause, trail, ran, short=short)}."


def _copied(cause: Cause, trail: Trail | None, ran: str) -> str:
    if cause.step is None or trail is None:
        return ""
    root, causes, again = trail(cause.step)
    return f": {place(root)} {_again(ran, causes)}{_reasons(causes)}" if again else ""


def _built_on(cause: Cause, trail: Trail | None, ran: str, *, short: bool) -> str:
    if cause.step is None or trail is None:
        return "another step"
    root, causes, again = trail(cause.step)
    if not again:
        return f"{place(root)}, which is not what it was in the build before"
    return f"{place(root)}, which {_again(ran, causes)}{'' if short else _reasons(causes)}"


def _again(ran: str, causes: Sequence[Cause]) -> str:
    return ran if any(cause.kind in ("new", "first", "unfinished") for cause in causes) else f"{ran} again"


def _reasons(causes: Sequence[Cause]) -> str:
    """The root's own causes, as the rest of a sentence."""
    texts = [_one(other, None, "") for other in causes if other.step is None]
    if not texts:
        return ""
    text = " ".join(texts).rstrip(".")
    begins = text.split(" ")[0] in ("The", "This", "Nothing", "It", "No", "Build", "What")
    return ": " + (text[0].lower() + text[1:] if begins else text)
