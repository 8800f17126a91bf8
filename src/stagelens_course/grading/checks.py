"""The kinds of check: each is a dataclass with its options, and examines one submission."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar, NewType

from stagelens.humanize import format_size
from stagelens.snapshot.layers import unpacked_size
from stagelens.text import inline

if TYPE_CHECKING:
    from stagelens.builds import Vertex
    from stagelens.errors import StagelensError
    from stagelens_course.grading.submission_probe import BuildOutcome, SubmissionProbe

EditName = NewType("EditName", str)  # a key of the exercise's edits
_MAX_LISTED = 5
_MARKUP = re.compile(r"<style.*?</style>|<[^<>]*>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """The outcome of one check: what it expected and what it saw, in words for the learner."""

    passed: bool
    expected: str
    seen: str


@dataclass(frozen=True, slots=True)
class Check(ABC):
    """A requirement that a submission must meet; each subclass is a kind of check, with its options.

    Attributes
    ----------
    kind
        The name of the kind in exercise.toml.
    id
        A name that is unique in the exercise.
    title
        One line that says what a right answer does.
    points
        The points that a submission earns if it passes.
    hint
        A sentence or two for a learner whose submission fails.
    lesson
        The notebook to read again.
    """

    kind: ClassVar[str]
    id: str
    title: str
    points: float
    hint: str
    lesson: str

    @abstractmethod
    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Examine a submission that builds."""


@dataclass(frozen=True, slots=True)
class BuildSucceeds(Check):
    """The submission builds."""

    kind = "builds"

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Report the build's error, if any."""
        problem = probe.first.problem
        seen = probe.explain(problem) if problem else "it builds"
        return CheckFinding(problem is None, "the image builds", seen)


@dataclass(frozen=True, slots=True)
class BaseDiffers(Check):
    """The image does not begin with the layers of the toolchain's image."""

    kind = "base-differs"

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Compare the first layers of both images."""
        toolchain = probe.exercise.images[0]
        base = tuple(probe.engine.api.inspect_image(toolchain)["RootFS"]["Layers"])
        layers = tuple(probe.image["RootFS"].get("Layers") or ())
        same = layers[: len(base)] == base
        return CheckFinding(
            not same,
            f"an image that does not begin with {toolchain}",
            f"it begins with all {len(base)} layers of {toolchain}" if same else "another base",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Excludes(Check):
    """The image contains no file that matches.

    Attributes
    ----------
    programs
        Names of executable files.
    files
        Patterns of file names, or of paths where they contain a slash.
    """

    kind = "excludes"
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Search the image's files."""
        found: list[str] = []
        for entry in probe.files:
            if entry.kind not in ("file", "symlink"):
                continue
            program = entry.name in self.programs and bool(entry.mode & 0o111)
            if program or any(fnmatchcase(entry.path if "/" in p else entry.name, p) for p in self.files):
                found.append("/" + entry.path)
        listed = ", ".join(inline(path) for path in found[:_MAX_LISTED])
        more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
        expected = f"none of: {', '.join((*self.programs, *self.files))}"
        return CheckFinding(not found, expected, f"{listed}{more}" if found else "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRatio(Check):
    """The image is small in comparison with the toolchain's image, which every single-stage image contains.

    Attributes
    ----------
    max_ratio
        The largest allowed unpacked size, divided by that of the toolchain's image.
    """

    kind = "size-ratio"
    max_ratio: float

    def __post_init__(self) -> None:
        if not 0 < self.max_ratio <= 1:
            raise ValueError(f"'max_ratio' must be above 0 and at most 1, not {self.max_ratio:g}")

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Compare the unpacked sizes of both images."""
        toolchain = probe.exercise.images[0]
        before, now = unpacked_size(probe.engine, toolchain), probe.unpacked_size
        limit = format_size(int(self.max_ratio * before))
        return CheckFinding(
            now <= self.max_ratio * before,
            f"at most {self.max_ratio:.0%} of a single-stage image: {limit}, "
            f"since {toolchain} alone has {format_size(before)} unpacked",
            f"{format_size(now)} unpacked, {now / before:.1%}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposes(Check):
    """The image declares a port.

    Attributes
    ----------
    port
        A TCP port.
    """

    kind = "exposes"
    port: int

    def __post_init__(self) -> None:
        _require_port(self.port)

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Read the image's exposed ports."""
        ports = sorted(probe.config.get("ExposedPorts") or {})
        seen = inline(", ".join(ports)) or "no port"
        return CheckFinding(f"{self.port}/tcp" in ports, f"EXPOSE {self.port}", seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetsVariable(Check):
    """The image sets an environment variable.

    Attributes
    ----------
    name
        The variable's name.
    value
        The value that it must have.
    """

    kind = "sets-variable"
    name: str
    value: str

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Read the image's environment."""
        wanted = f"{self.name}={self.value}"
        found = [v for v in probe.config.get("Env") or () if v.startswith(f"{self.name}=")]
        seen = inline(", ".join(found)) or f"{self.name} is not set"
        return CheckFinding(found == [wanted], wanted, seen)


@dataclass(frozen=True, slots=True)
class Starts(Check):
    """The container starts a program that keeps running."""

    kind = "starts"

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Start the container."""
        command = [*(probe.config.get("Entrypoint") or ()), *(probe.config.get("Cmd") or ())]
        response = probe.request("first")
        seen = response.why if response.ended else f"it runs: {inline(' '.join(command))}"
        return CheckFinding(not response.ended, "the container starts a program that keeps running", seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkdirContains(Check):
    """The image's working directory contains a file that the program reads.

    Attributes
    ----------
    file
        The file's name.
    """

    kind = "workdir-contains"
    file: str

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Look for the file in the image."""
        folder = (probe.config.get("WorkingDir") or "/").strip("/")
        exists = probe.files.get(f"{folder}/{self.file}".lstrip("/")) is not None
        seen = f"WORKDIR /{folder}" + ("" if exists else f" without {self.file}")
        return CheckFinding(exists, f"a working directory that contains {self.file}", inline(seen))


@dataclass(frozen=True, slots=True, kw_only=True)
class Responds(Check):
    """The container answers an HTTP request with a text.

    Attributes
    ----------
    text
        A text that the response must contain.
    variable
        An environment variable to set to a random value, which the response must contain in place of `text`.
    port
        The port to request.
    """

    kind = "responds"
    text: str
    variable: str | None = None
    port: int = 80

    def __post_init__(self) -> None:
        _require_port(self.port)

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Request the container's page; set the variable only if the container answers without it."""
        wanted = self.text if self.variable is None else probe.token
        response = probe.request("first", None, self.port)
        expected = f"port {self.port} answers with {inline(wanted)!r}"
        if self.variable is not None:
            expected += f" with {self.variable}={wanted}"
            if response.body is not None:
                response = probe.request("first", {self.variable: wanted}, self.port)
        if response.body is None:
            return CheckFinding(False, expected, response.why)
        if response.local_only:
            seen = f"port {self.port} is open only inside the container (127.0.0.1)"
            return CheckFinding(False, expected, seen)
        fixed = self.variable is not None and self.text in response.body
        return CheckFinding(wanted in response.body and not fixed, expected, _excerpt(response.body, wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildCheck(Check):
    """A check of one step in a build after an edit; the step is the one that a breaking edit makes fail.

    Attributes
    ----------
    edit
        The edit after which the submission is built again.
    breaking_edit
        An edit that makes the step fail.
    step
        A name of the step for the report.
    """

    edit: EditName
    breaking_edit: EditName
    step: str

    def _expected(self, probe: SubmissionProbe, result: str) -> str:
        return f"{probe.exercise.edits[self.edit].file} changes: {self.step} {result}"

    def _find_step(self, probe: SubmissionProbe) -> tuple[int, int] | None:
        return failing_step(probe.edited(self.breaking_edit))

    @property
    def _no_step(self) -> str:
        return f"the step was not found: no step fails after an edit that must break '{self.step}'"


@dataclass(frozen=True, slots=True)
class StaysCached(RebuildCheck):
    """The step comes from the cache after the edit."""

    kind = "stays-cached"

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Build again after the edit, and find the step only if a RUN ran."""
        expected = self._expected(probe, "comes from the cache")
        outcome = probe.edited(self.edit)
        if outcome.problem is not None:
            return CheckFinding(False, expected, _build_failed(probe, outcome.problem))
        # Most right answers run nothing again; they need no further build.
        if not outcome.ran:
            return CheckFinding(True, expected, "no RUN ran again")
        step = self._find_step(probe)
        if step is None:
            return CheckFinding(False, expected, self._no_step)
        again = _runs_of(step, outcome)
        return CheckFinding(not again, expected, _list_steps(again or outcome.ran))


@dataclass(frozen=True, slots=True)
class Reruns(RebuildCheck):
    """The step runs again after the edit."""

    kind = "reruns"

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Find the step, and build again after the edit."""
        expected = self._expected(probe, "runs again")
        step = self._find_step(probe)
        if step is None:
            return CheckFinding(False, expected, self._no_step)
        outcome = probe.edited(self.edit)
        if outcome.problem is not None:
            return CheckFinding(False, expected, _build_failed(probe, outcome.problem))
        again = _runs_of(step, outcome)
        return CheckFinding(bool(again), expected, _list_steps(again or outcome.ran))


@dataclass(frozen=True, slots=True, kw_only=True)
class TakesEffect(Check):
    """The container's page shows the text that an edit inserted.

    Attributes
    ----------
    edit
        The edit, which inserts the token.
    step
        A name of the step that compiles, if a RUN must run again for the edit.
    port
        The port to request.
    """

    kind = "takes-effect"
    edit: EditName
    step: str | None = None
    port: int = 80

    def __post_init__(self) -> None:
        _require_port(self.port)

    def examine(self, probe: SubmissionProbe) -> CheckFinding:
        """Request the page before and after the edit."""
        file = probe.exercise.edits[self.edit].file
        reran = f"{self.step} runs again, and " if self.step else ""
        expected = f"{file} changes: {reran}the page shows it"
        before = probe.request("first", None, self.port)
        if before.body is None:
            return CheckFinding(False, expected, before.why)
        outcome = probe.edited(self.edit)
        if outcome.problem is not None:
            return CheckFinding(False, expected, _build_failed(probe, outcome.problem))
        if self.step and not outcome.ran:
            return CheckFinding(False, expected, "no RUN ran again")
        response = probe.request(self.edit, None, self.port)
        if response.body is None:
            return CheckFinding(False, expected, response.why)
        if probe.token not in response.body:
            return CheckFinding(False, expected, "the page still shows the old text")
        return CheckFinding(True, expected, _list_steps(outcome.ran))


CHECKS: Mapping[str, type[Check]] = {
    check.kind: check
    for check in (
        BuildSucceeds,
        BaseDiffers,
        Excludes,
        SizeRatio,
        Exposes,
        SetsVariable,
        Starts,
        WorkdirContains,
        Responds,
        StaysCached,
        Reruns,
        TakesEffect,
    )
}


def failing_step(outcome: BuildOutcome) -> tuple[int, int] | None:
    """Return the indexes of the stage and the instruction of the RUN that failed, if any."""
    for vertex in outcome.trace.vertices if outcome.trace else ():
        if vertex.error and vertex.instructions and outcome.image is None:
            return vertex.instructions[0]
    return None


def _runs_of(step: tuple[int, int], outcome: BuildOutcome) -> list[Vertex]:
    return [vertex for vertex in outcome.ran if step in vertex.instructions]


def _list_steps(ran: Sequence[Vertex]) -> str:
    return "ran again: " + (", ".join(inline(vertex.name) for vertex in ran) or "no RUN")


def _build_failed(probe: SubmissionProbe, problem: StagelensError) -> str:
    return f"the build fails after the edit: {probe.explain(problem)}"


def _require_port(port: int) -> None:
    if not 0 < port < 65536:
        raise ValueError(f"'port' must be from 1 to 65535, not {port}")


def _excerpt(body: str, wanted: str, around: int = 60) -> str:
    """Return the text of a page around the last occurrence of `wanted`, else the end of the text."""
    text = inline(" ".join(_MARKUP.sub(" ", body).split()), 1500) or "a page without text"
    index = text.rfind(wanted)
    begin = max(0, index - around if index >= 0 else len(text) - 2 * around)
    return ("… " if begin else "") + text[begin : begin + 2 * around + len(wanted)]
