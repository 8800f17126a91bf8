"""What a Dockerfile says, as frozen values; nothing here reads a file or asks an engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stagelens.dockerfile.errors import StageNotFound

EdgeKind = Literal["from", "copy", "add", "mount"]


@dataclass(frozen=True, slots=True)
class Flag:
    """One `--name=value` of an instruction; `value` is None where the flag stands alone (`--link`)."""

    name: str
    value: str | None

    @property
    def text(self) -> str:
        """It as it is written."""
        return f"--{self.name}" if self.value is None else f"--{self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document of a RUN, COPY or ADD: its word, its body, and whether variables in it expand.

    `content` is as written; `chomp` (from `<<-`) says that the tabs that begin its lines are dropped.
    """

    name: str
    content: str
    expand: bool
    chomp: bool = False

    @property
    def body(self) -> str:
        """What the engine reads of it: with `chomp`, without the tabs that begin its lines."""
        return re.sub(r"^\t+", "", self.content, flags=re.MULTILINE) if self.chomp else self.content


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a stage.

    `keyword` is upper case; `arguments` is what follows the flags, continuation lines joined and
    comments inside them dropped; `words` is the exec form's list or None for the shell form;
    `source` is the text of lines `start_line` to `end_line` (1-based, inclusive) to the letter.
    `index` counts within the stage: FROM is 0. Global ARGs (before the first FROM) count by themselves.
    """

    index: int
    keyword: str
    arguments: str
    flags: tuple[Flag, ...]
    words: tuple[str, ...] | None
    heredocs: tuple[Heredoc, ...]
    start_line: int
    end_line: int
    source: str

    def flag(self, name: str) -> str | None:
        """The value of the last flag called `name` ("" where it stands alone), or None."""
        for flag in reversed(self.flags):
            if flag.name == name:
                return flag.value or ""
        return None


@dataclass(frozen=True, slots=True)
class Stage:
    """A FROM and the instructions up to the next one; `instructions[0]` is the FROM itself.

    `base` has the global ARGs expanded; `base_stage` is the index of the earlier stage that `base`
    names, or None where it is an image or `scratch`.
    """

    index: int
    name: str | None
    base: str
    base_stage: int | None
    platform: str | None
    instructions: tuple[Instruction, ...]

    @property
    def label(self) -> str:
        """The stage's name, or `stage-N` as BuildKit calls a nameless one."""
        return self.name or f"stage-{self.index}"


@dataclass(frozen=True, slots=True)
class Edge:
    """Files flow from `source` (a stage's index, or an external image's name) into stage `target`.

    `instruction` is the index in `target` of the FROM, COPY, ADD or RUN that makes the edge.
    """

    source: int | str
    target: int
    kind: EdgeKind
    instruction: int


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed Dockerfile: global ARGs, stages in order and the edges between them.

    `build_args` are the build's arguments that it was parsed with.
    """

    path: str
    text: str
    escape: str
    syntax: str | None
    global_args: tuple[Instruction, ...]
    stages: tuple[Stage, ...]
    edges: tuple[Edge, ...]
    build_args: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)

    def stage(self, reference: str | int) -> Stage:
        """The stage of that name (any letter case) or index.

        Raises
        ------
        StageNotFound (a KeyError): there is no such stage.
        """
        text = str(reference)
        for stage in reversed(self.stages):
            if stage.name is not None and stage.name.lower() == text.lower():
                return stage
        if text.isdigit() and int(text) < len(self.stages):
            return self.stages[int(text)]
        for stage in self.stages:
            if stage.label == text:
                return stage
        raise StageNotFound(reference, self.path, [stage.label for stage in self.stages])

    def needed(self, target: str | int | None = None) -> tuple[int, ...]:
        """Indexes of the stages that building `target` (the last stage unless told) needs, in order."""
        waiting = [self.stages[-1].index if target is None else self.stage(target).index]
        sources: dict[int, list[int]] = {}
        for edge in self.edges:
            if isinstance(edge.source, int):
                sources.setdefault(edge.target, []).append(edge.source)
        wanted: set[int] = set()
        while waiting:
            stage = waiting.pop()
            if stage not in wanted:
                wanted.add(stage)
                waiting += sources.get(stage, [])
        return tuple(sorted(wanted))
