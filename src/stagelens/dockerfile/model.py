"""The parts of a parsed Dockerfile as frozen values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stagelens.dockerfile.defaults import context_name
from stagelens.dockerfile.errors import StageNotFound

EdgeKind = Literal["from", "copy", "add", "mount"]


@dataclass(frozen=True, slots=True)
class Flag:
    """One `--name=value` of an instruction; `value` is None for a bare flag such as `--link`."""

    name: str
    value: str | None

    @property
    def text(self) -> str:
        """The flag as Dockerfile text."""
        return f"--{self.name}" if self.value is None else f"--{self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document of a RUN, COPY or ADD.

    Attributes
    ----------
    name
        The word that ends the here-document.
    content
        The lines between, as written in the Dockerfile.
    expand
        Whether variables in the content are expanded.
    chomp
        Whether leading tabs are dropped (`<<-`).
    """

    name: str
    content: str
    expand: bool
    chomp: bool = False

    @property
    def body(self) -> str:
        """The content that the engine reads: without leading tabs if `chomp` is set."""
        return re.sub(r"^\t+", "", self.content, flags=re.MULTILINE) if self.chomp else self.content


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a stage.

    Attributes
    ----------
    index
        The index in the stage, where FROM is 0. ARGs before the first FROM have a count of their own.
    keyword
        The instruction's name in upper case.
    arguments
        The text after the flags, with continuation lines joined and comments dropped.
    flags
        The `--name=value` flags in order.
    words
        The list of the exec form; None for the shell form.
    heredocs
        The here-documents in order.
    start_line, end_line
        The first and last line in the Dockerfile, from 1, inclusive.
    source
        The exact text of these lines.
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
        """Return the value of the last flag called `name` ("" for a bare flag), or None without one."""
        for flag in reversed(self.flags):
            if flag.name == name:
                return flag.value or ""
        return None


@dataclass(frozen=True, slots=True)
class Stage:
    """A FROM and the instructions up to the next FROM.

    Attributes
    ----------
    index
        The index in the Dockerfile.
    name
        The name after AS in lower case; None without one.
    base
        The image or stage that FROM names, with global ARGs expanded. For a stage that a build context of
        its name replaces, that name.
    base_stage
        The index of the stage that `base` names; None if it is an image, a build context or `scratch`.
    platform
        The value of FROM's `--platform`.
    instructions
        All instructions; the first one is the FROM itself. A stage that a build context replaces has no more.
    """

    index: int
    name: str | None
    base: str
    base_stage: int | None
    platform: str | None
    instructions: tuple[Instruction, ...]

    @property
    def label(self) -> str:
        """The stage's name, or BuildKit's `stage-N` for a stage without a name."""
        return self.name or f"stage-{self.index}"


@dataclass(frozen=True, slots=True)
class StageEdge:
    """A flow of files into a stage.

    Attributes
    ----------
    source
        The index of the stage, or the name of the image or build context, that the files come from.
    target
        The index of the stage that receives them.
    kind
        The kind of instruction that moves them.
    instruction
        The index in `target` of that instruction: a FROM, COPY, ADD or RUN.
    """

    source: int | str
    target: int
    kind: EdgeKind
    instruction: int


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed Dockerfile.

    Attributes
    ----------
    path
        The path, for messages.
    text
        The text without a byte order mark.
    escape
        The escape character.
    syntax
        The frontend that `# syntax=` names; None without one.
    global_args
        The ARGs before the first FROM.
    stages
        The stages in order.
    edges
        The flows of files between stages and images.
    build_args
        The build arguments that the file was parsed with.
    automatic_args
        The values of the ARGs that BuildKit sets by itself, such as TARGETARCH.
    build_contexts
        The names of the build contexts beside the main one.
    """

    path: str
    text: str
    escape: str
    syntax: str | None
    global_args: tuple[Instruction, ...]
    stages: tuple[Stage, ...]
    edges: tuple[StageEdge, ...]
    build_args: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)
    automatic_args: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)
    build_contexts: frozenset[str] = field(default=frozenset[str](), compare=False)

    def build_context(self, source: int | str) -> str | None:
        """Return the name of the build context that an edge's source names, or None for a stage or image."""
        name = context_name(source) if isinstance(source, str) else None
        return name if name in self.build_contexts else None

    def miscased_base(self, stage: Stage) -> str | None:
        """Return the name of the earlier stage that FROM names in other letters, if so.

        FROM compares with stage names in lower case, unlike COPY --from: `FROM Tools` names an image.
        """
        if stage.base_stage is not None or stage.base == stage.base.lower():
            return None
        earlier = {other.name for other in self.stages[: stage.index]}
        return stage.base.lower() if stage.base.lower() in earlier else None

    def stage(self, reference: str | int) -> Stage:
        """Return the stage with a name (in any letter case) or index.

        Raises
        ------
        StageNotFound
            If no stage has that name or index; this is a KeyError.
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

    def needed_stages(self, target: str | int | None = None) -> tuple[int, ...]:
        """Return the indexes of the stages that a build of `target` needs, in order.

        Parameters
        ----------
        target
            The name or index of a stage; None for the last one.
        """
        waiting = [self.stages[-1].index if target is None else self.stage(target).index]
        sources: dict[int, list[int]] = {}
        for edge in self.edges:
            if isinstance(edge.source, int):
                sources.setdefault(edge.target, []).append(edge.source)
        needed: set[int] = set()
        while waiting:
            stage = waiting.pop()
            if stage not in needed:
                needed.add(stage)
                waiting += sources.get(stage, [])
        return tuple(sorted(needed))
