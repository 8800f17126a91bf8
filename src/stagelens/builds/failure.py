"""The error of a failed build, at its instruction in the Dockerfile."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from stagelens.builds.logs import plain_line
from stagelens.builds.trace import BuildTrace, LogLine, Vertex
from stagelens.dockerfile import Dockerfile, Instruction, Stage, arg_defaults, normalize_image_name
from stagelens.errors import StagelensError

_FRONTEND = re.compile(r"(?:failed to solve(?: with frontend \S+)?|failed to create LLB definition): ")
# As BuildKit, the classic builder and Podman report it.
_EXIT_CODE = re.compile(
    r"(?:exit code: |returned a non-zero code: |while running runtime: exit status )(\d+)"
)
# An error of BuildKit's Dockerfile parser, before any step runs (frontend/dockerfile/parser/errors.go).
_REFUSED_LINE = re.compile(r"dockerfile parse error (?:on )?line (\d+)")
_NEWER_FRONTEND = (
    "if the line is right, this engine's Dockerfile frontend is too old for it: make "
    "# syntax=docker/dockerfile:1 the file's first line, or use a newer engine"
)
_DENIED = re.compile(r"\b401\b|unauthorized|denied|authorization failed|no basic auth", re.IGNORECASE)
_FULL = re.compile("no space left on device", re.IGNORECASE)
LAST_LINES = 20


class BuildFailed(StagelensError):
    """A build ended with an error.

    Attributes
    ----------
    stage, instruction
        The instruction that failed; None if no instruction did.
    line
        The line of the Dockerfile, from 1; None if the error belongs to no line.
    exit_code
        The exit code of a RUN instruction; None for other errors.
    logs
        The last 20 lines of the step's log.
    trace
        What ran before.
    """

    def __init__(
        self,
        message: str,
        trace: BuildTrace,
        stage: Stage | None = None,
        instruction: Instruction | None = None,
        logs: tuple[LogLine, ...] = (),
        registry: str | None = None,
        line: int | None = None,
        remedy: str | None = None,
    ) -> None:
        self.stage = stage
        self.instruction = instruction
        refused = _REFUSED_LINE.search(message) if instruction is None else None
        self.line = int(refused[1]) if refused else line or (instruction and instruction.start_line)
        self.trace = trace
        self.logs = logs[-LAST_LINES:]
        found = _EXIT_CODE.search(message)
        self.exit_code = int(found[1]) if found else None
        message = plain_line(message.replace("\n", " "))
        while begin := _FRONTEND.match(message):
            message = message[begin.end() :]
        super().__init__(
            self._what(registry),
            where=self._place(trace.dockerfile.path),
            why=self._why(message),
            remedy=remedy or self._remedy(message, registry),
        )

    def _what(self, registry: str | None) -> str:
        if self.instruction is None and registry is not None:
            return "The frontend that # syntax= names cannot be pulled."
        if self.instruction is None:
            return "The engine cannot read the Dockerfile." if self.line else "The build failed."
        first = plain_line(self.instruction.source.splitlines()[0])
        code = f" with exit code {self.exit_code}" if self.exit_code is not None else ""
        return f"{first} failed{code}."

    def _place(self, path: str) -> str:
        if self.stage is None:
            return f"{path}, line {self.line}" if self.line else path
        return f"{path}, line {self.line}, stage {self.stage.label}"

    def _remedy(self, message: str, registry: str | None) -> str | None:
        if any(_FULL.search(text) for text in (message, *(line.text for line in self.logs))):
            return (
                "free some of the engine's disk: docker builder prune, then docker image prune "
                "(stagelens doctor shows where it is and how much is free)"
            )
        if registry is not None:
            if _DENIED.search(message):
                return f"docker login {registry}   then build again"
            return "check the image's name and the network, then build again"
        fix = f"fix line {self.line} of the Dockerfile, then build again" if self.line else None
        return f"{fix}; {_NEWER_FRONTEND}" if fix and self.instruction is None else fix

    def _why(self, message: str) -> str:
        lines = [f"    {line.text}" for line in self.logs]
        return "\n".join([message, *lines])


# The names of vertices that resolve an image: frontend/dockerfile/dockerfile2llb/convert.go.
_METADATA = "[internal] load metadata for "
# Without containerd's image store, an image that is not a stage's base is resolved by a separate vertex.
_FROM = "FROM "
# The same for a frontend's image (frontend/gateway/gateway.go, client/llb); older engines omit the scheme.
_FRONTEND_IMAGE = re.compile(r"resolve image config for (?:docker-image://)?(?P<image>\S+)")
# Text that the frontend refuses without naming its line: quoted by Go, or bare.
_QUOTED = re.compile(r'failed to (?:process|parse stage name|parse platform) ("(?:[^"\\]|\\.)*")')
_BARE = re.compile(r"invalid containerPort: (\S+)", re.IGNORECASE)
# Variables without a default, unlike ${NAME:-default}.
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def locate_failure(message: str, trace: BuildTrace) -> BuildFailed:
    """Return the error of a build that ended with a message, at the failed instruction if there is one."""
    # A vertex that was stopped because another one failed has this error.
    failed = [vertex for vertex in trace.vertices if vertex.error and "context canceled" not in vertex.error]
    return (
        _step_failed([(vertex, vertex.instructions) for vertex in failed], trace)
        or _image_failed(failed, trace)
        or _step_failed([(vertex, vertex.part_of) for vertex in failed], trace)
        or _words_failed(message, trace)
        or BuildFailed(message, trace)
    )


def _step_failed(
    failed: Iterable[tuple[Vertex, Sequence[tuple[int, int]]]], trace: BuildTrace
) -> BuildFailed | None:
    """Return the error of the first vertex that belongs to an instruction."""
    for vertex, instructions in failed:
        for stage_index, index in instructions:
            stage = trace.dockerfile.stages[stage_index]
            return BuildFailed(vertex.error, trace, stage, stage.instructions[index], vertex.logs)
    return None


def _image_failed(failed: Sequence[Vertex], trace: BuildTrace) -> BuildFailed | None:
    """Return the error of an image that could not be pulled, at the first line that names it."""
    missing = {name: vertex for vertex in failed if (name := _image(vertex))}
    for edge in trace.dockerfile.edges:
        if isinstance(edge.source, str) and (vertex := missing.get(normalize_image_name(edge.source))):
            stage = trace.dockerfile.stages[edge.target]
            instruction = stage.instructions[edge.instruction]
            registry = normalize_image_name(edge.source).partition("/")[0]
            remedy = None if edge.kind == "from" else _no_stage(trace.dockerfile, edge.source, stage)
            return BuildFailed(vertex.error, trace, stage, instruction, registry=registry, remedy=remedy)
    for vertex in failed:
        if found := _FRONTEND_IMAGE.match(vertex.name):
            registry = found["image"].partition("/")[0]
            return BuildFailed(vertex.error, trace, registry=registry, line=_syntax_line(trace.dockerfile))
    return None


def _image(vertex: Vertex) -> str | None:
    """Return the full name of the image that a vertex resolves."""
    for prefix in (_METADATA, _FROM):
        if vertex.name.startswith(prefix):
            return normalize_image_name(vertex.name.removeprefix(prefix).partition("@")[0])
    return None


def _no_stage(dockerfile: Dockerfile, name: str, here: Stage) -> str | None:
    """Return the remedy for a `--from` that probably means a stage: it is not an image's full name."""
    if set(name) & set("/:@."):
        return None
    above = [stage.name for stage in dockerfile.stages[: here.index] if stage.name]
    near = difflib.get_close_matches(name, above, 1)
    names = f"the stages above are {', '.join(above)}" if above else "name a stage: FROM image AS name"
    meant = f"did you mean {near[0]}?" if near else names
    return (
        f"no stage above is called {name}, so the engine looked for an image; {meant}; "
        f"or give --build-context {name}=PATH if it is a folder"
    )


def _words_failed(message: str, trace: BuildTrace) -> BuildFailed | None:
    """Return the error of text that the frontend refused, at the first line that has it."""
    words = _refused(message)
    stages = trace.dockerfile.stages if words else ()
    # A base by its name first: `AS` in an earlier line may have the same words.
    found = [(stage, stage.instructions[0]) for stage in stages if stage.base == words]
    found += [(stage, i) for stage in stages for i in stage.instructions if words in i.arguments]
    if not found:
        return None
    stage, instruction = found[0]
    remedy = _miscased(trace.dockerfile, stage, instruction) or _no_value(trace.dockerfile, instruction)
    return BuildFailed(message, trace, stage, instruction, remedy=remedy)


def _refused(message: str) -> str:
    if found := _QUOTED.search(message):
        with suppress(SyntaxError, ValueError):
            return str(ast.literal_eval(found[1]))
    found = _BARE.search(message)
    return found[1] if found else ""


def _miscased(dockerfile: Dockerfile, stage: Stage, instruction: Instruction) -> str | None:
    name = dockerfile.miscased_base(stage) if instruction.keyword == "FROM" else None
    return f"write FROM {name}: FROM finds stages by their names in lower case" if name else None


def _no_value(dockerfile: Dockerfile, instruction: Instruction) -> str | None:
    """Return the remedy for a FROM with a variable that has no value."""
    if instruction.keyword != "FROM":
        return None
    given = {name for name, value in dockerfile.build_args.items() if value}
    for each in dockerfile.global_args:
        given |= {name for name, default in arg_defaults(each.arguments, dockerfile.escape) if default}
    for found in _VARIABLE.finditer(instruction.arguments):
        if (name := found[1] or found[2]) not in given:
            return f"give {name} a value: ARG {name}=… above the first FROM, or --build-arg {name}=…"
    return None


def _syntax_line(dockerfile: Dockerfile) -> int | None:
    # Only other directives can come before it.
    lines = dockerfile.text.lower().split("\n") if dockerfile.syntax else []
    return next((number for number, line in enumerate(lines, 1) if "syntax" in line), None)
