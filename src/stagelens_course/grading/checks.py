"""Kinds of check: each takes a SubmissionProbe and the options, and says what it expects and saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from stagelens.builds import Vertex
from stagelens.humanize import format_size
from stagelens.text import inline
from stagelens_course.grading.page_text import excerpt
from stagelens_course.grading.submission_probe import BuildOutcome, SubmissionProbe

Options = Mapping[str, Any]
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check found."""

    passed: bool
    expected: str
    seen: str


Way = Callable[[SubmissionProbe, Options], Seen]


def builds(probe: SubmissionProbe, options: Options) -> Seen:
    """The submission builds."""
    problem = probe.first.problem
    return Seen(problem is None, "the image builds", probe.explain(problem) if problem else "it builds")


def own_base(probe: SubmissionProbe, options: Options) -> Seen:
    """The image does not begin with the toolchain image's layers."""
    toolchain = probe.exercise.images[0]
    theirs = tuple(probe.engine.api.inspect_image(toolchain)["RootFS"]["Layers"])
    ours = tuple(probe.image["RootFS"].get("Layers") or ())
    inside = ours[: len(theirs)] == theirs
    return Seen(
        not inside,
        f"an image that does not begin with {toolchain}",
        f"it begins with all {len(theirs)} layers of {toolchain}" if inside else "another base",
    )


def without(probe: SubmissionProbe, options: Options) -> Seen:
    """The image holds none of the `programs` (executable, by name) and none of the `files` (patterns)."""
    programs, patterns = options.get("programs", ()), options.get("files", ())
    found: list[str] = []
    for entry in probe.files:
        if entry.kind not in ("file", "symlink"):
            continue
        program = entry.name in programs and bool(entry.mode & 0o111)
        if program or any(fnmatchcase(entry.path if "/" in p else entry.name, p) for p in patterns):
            found.append("/" + entry.path)
    shown = ", ".join(inline(path) for path in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Seen(
        not found, f"none of: {', '.join((*programs, *patterns))}", f"{shown}{more}" if found else "none"
    )


def smaller(probe: SubmissionProbe, options: Options) -> Seen:
    """The image's size is at most `share` of the toolchain image's; every single-stage image exceeds that."""
    toolchain, share = probe.exercise.images[0], float(options["share"])
    before = int(probe.engine.api.inspect_image(toolchain)["Size"])
    now = int(probe.image["Size"])
    limit = format_size(int(share * before))
    return Seen(
        now <= share * before,
        f"at most {share:.0%} of a single-stage image: {limit}, "
        f"since {toolchain} alone has {format_size(before)}",
        f"{format_size(now)}, {now / before:.1%}",
    )


def exposes(probe: SubmissionProbe, options: Options) -> Seen:
    """The image says which port it serves."""
    port = f"{options['port']}/tcp"
    ports = sorted(probe.config.get("ExposedPorts") or {})
    return Seen(port in ports, f"EXPOSE {options['port']}", inline(", ".join(ports)) or "no port")


def variable(probe: SubmissionProbe, options: Options) -> Seen:
    """The image sets an environment variable."""
    wanted = f"{options['name']}={options['value']}"
    found = [v for v in probe.config.get("Env") or () if v.startswith(f"{options['name']}=")]
    return Seen(found == [wanted], wanted, inline(", ".join(found)) or f"{options['name']} is not set")


def starts(probe: SubmissionProbe, options: Options) -> Seen:
    """The container starts a program by itself, which keeps running."""
    command = [*(probe.config.get("Entrypoint") or ()), *(probe.config.get("Cmd") or ())]
    answer = probe.answer("first")
    seen = answer.why if answer.ended else f"it runs: {inline(' '.join(command))}"
    return Seen(not answer.ended, "the container starts a program that keeps running", seen)


def beside(probe: SubmissionProbe, options: Options) -> Seen:
    """The working directory holds a file that the program reads."""
    folder = (probe.config.get("WorkingDir") or "/").strip("/")
    there = probe.files.get(f"{folder}/{options['file']}".lstrip("/")) is not None
    seen = f"WORKDIR /{folder}" + ("" if there else f" without {options['file']}")
    return Seen(there, f"a working directory that holds {options['file']}", inline(seen))


def answers(probe: SubmissionProbe, options: Options) -> Seen:
    """The container answers with `text`; or, where `variable` is given, with a value that only we know."""
    port, name = int(options.get("port", 80)), options.get("variable")
    wanted = str(options["text"])
    made_up = name is not None
    if made_up:
        wanted = probe.token
    answer = probe.answer("first", None, port)
    if made_up and answer.body is not None:
        answer = probe.answer("first", {name: wanted}, port)
    expected = f"port {port} answers with {inline(wanted)!r}" + (f" where {name}={wanted}" if made_up else "")
    if answer.body is None:
        return Seen(False, expected, answer.why)
    if answer.local_only:
        return Seen(False, expected, f"port {port} is open for the container itself only (127.0.0.1)")
    stale = made_up and str(options["text"]) in answer.body
    return Seen(wanted in answer.body and not stale, expected, excerpt(answer.body, wanted))


def spared(probe: SubmissionProbe, options: Options) -> Seen:
    """After the edit `edit` the step that the edit `breaks` makes fail comes from the cache."""
    edit = probe.exercise.edits[options["edit"]]
    expected = f"{edit.file} changes: {options['step']} comes from the cache"
    outcome = probe.edited(options["edit"])
    if outcome.problem is not None:
        return Seen(False, expected, f"the build fails after the edit: {probe.explain(outcome.problem)}")
    # Most right answers run nothing again, and nothing has to be found out then.
    if not outcome.ran:
        return Seen(True, expected, "no RUN ran again")
    step = failing_step(probe.edited(options["breaks"]))
    if step is None:
        return Seen(False, expected, f"no step fails where {options['step']} must fail: it does not happen")
    again = [v for v in outcome.ran if (v.stage, v.instruction) == step]
    return Seen(not again, expected, _steps(again or outcome.ran))


def repeated(probe: SubmissionProbe, options: Options) -> Seen:
    """After the edit `edit` the step that the edit `breaks` makes fail runs again."""
    edit = probe.exercise.edits[options["edit"]]
    expected = f"{edit.file} changes: {options['step']} runs again"
    step = failing_step(probe.edited(options["breaks"]))
    if step is None:
        return Seen(False, expected, f"no step fails where {options['step']} must fail: it does not happen")
    outcome = probe.edited(options["edit"])
    if outcome.problem is not None:
        return Seen(False, expected, f"the build fails after the edit: {probe.explain(outcome.problem)}")
    again = [v for v in outcome.ran if (v.stage, v.instruction) == step]
    return Seen(bool(again), expected, _steps(again or outcome.ran))


def renewed(probe: SubmissionProbe, options: Options) -> Seen:
    """After the edit `edit` the container answers with what the edit put there.

    With a `step` a RUN has to run for that, too.
    """
    edit, step = probe.exercise.edits[options["edit"]], options.get("step")
    expected = f"{edit.file} changes: " + (f"{step} runs again, and " if step else "") + "the page shows it"
    port = int(options.get("port", 80))
    before = probe.answer("first", None, port)
    if before.body is None:
        return Seen(False, expected, before.why)
    outcome = probe.edited(options["edit"])
    if outcome.problem is not None:
        return Seen(False, expected, f"the build fails after the edit: {probe.explain(outcome.problem)}")
    if step and not outcome.ran:
        return Seen(False, expected, "no RUN ran again")
    answer = probe.answer(options["edit"], None, port)
    if answer.body is None:
        return Seen(False, expected, answer.why)
    fresh = probe.token in answer.body
    return Seen(fresh, expected, _steps(outcome.ran) if fresh else "the page still shows the text of before")


def _steps(ran: Sequence[Vertex]) -> str:
    return "ran again: " + (", ".join(inline(v.name) for v in ran) or "no RUN")


WAYS: Mapping[str, Way] = {
    way.__name__.replace("_", "-"): way
    for way in (
        builds,
        own_base,
        without,
        smaller,
        exposes,
        variable,
        starts,
        beside,
        answers,
        spared,
        repeated,
        renewed,
    )
}


def failing_step(outcome: BuildOutcome) -> tuple[int | None, int | None] | None:
    """The stage and instruction (indexes) of the RUN that failed; None where none did."""
    for vertex in outcome.trace.vertices if outcome.trace else ():
        if vertex.error and vertex.instruction is not None and outcome.image is None:
            return vertex.stage, vertex.instruction
    return None
