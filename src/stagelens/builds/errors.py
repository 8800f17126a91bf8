"""A build that failed, told in terms of the Dockerfile."""

from __future__ import annotations

import re

from stagelens.builds.logs import plain_line
from stagelens.builds.trace import BuildTrace, LogLine
from stagelens.dockerfile.model import Instruction, Stage
from stagelens.errors import StagelensError

_FRONTEND = re.compile(r"(?:failed to solve(?: with frontend \S+)?|failed to create LLB definition): ")
# BuildKit's words, the classic builder's, and Podman's.
_EXIT_CODE = re.compile(
    r"(?:exit code: |returned a non-zero code: |while running runtime: exit status )(\d+)"
)
# What BuildKit's Dockerfile frontend refuses before it runs anything (frontend/dockerfile/parser/errors.go).
_REFUSED_LINE = re.compile(r"dockerfile parse error (?:on )?line (\d+)")
_NEWER_FRONTEND = (
    "if the line is right, this engine's own reader of Dockerfiles is older than it: make "
    "# syntax=docker/dockerfile:1 the file's first line, or use a newer engine"
)
_DENIED = re.compile(r"\b401\b|unauthorized|denied|authorization failed|no basic auth", re.IGNORECASE)
_FULL = re.compile("no space left on device", re.IGNORECASE)
LAST_LINES = 20


class BuildFailed(StagelensError):
    """The build ended with an error.

    `stage` and `instruction` are None where no instruction ran and failed; `line` is the Dockerfile's
    (1-based), None where the error belongs to none (a context that cannot be read); `exit_code` a RUN's;
    `logs` its last 20 lines; `trace` what ran; `registry` the one that did not give an image. `remedy` is
    given where more is known than the message says.
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
                "(stagelens doctor tells where it is and how much is free)"
            )
        if registry is not None:
            if _DENIED.search(message):
                return f"docker login {registry}   then build again"
            return "check the image's name and the network, then build again"
        mend = f"mend line {self.line} of the Dockerfile, then build again" if self.line else None
        return f"{mend}; {_NEWER_FRONTEND}" if mend and self.instruction is None else mend

    def _why(self, message: str) -> str:
        lines = [f"    {line.text}" for line in self.logs]
        return "\n".join([message, *lines])
