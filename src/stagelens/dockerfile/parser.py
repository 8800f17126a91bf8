"""Text to Dockerfile: stages and the edges between them."""

from __future__ import annotations

import codecs
import re
import stat
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from stagelens.dockerfile.defaults import automatic_args, context_name
from stagelens.dockerfile.errors import DockerfileError
from stagelens.dockerfile.expansion import expand
from stagelens.dockerfile.file_names import missing_remedy
from stagelens.dockerfile.instructions import (
    MAX_BYTES,
    LogicalLine,
    check_text,
    logical_lines,
    read_directives,
    read_instruction,
)
from stagelens.dockerfile.model import Dockerfile, Instruction, Stage, StageEdge
from stagelens.dockerfile.words import arg_defaults, mount_options, split_whitespace

_STAGE_NAME = re.compile(r"^[a-z][a-z0-9-_.]*$")


def load(
    path: Path,
    build_args: Mapping[str, str] | None = None,
    *,
    platform: str | None = None,
    build_platform: str | None = None,
    target: str | None = None,
    build_contexts: Iterable[str] = (),
) -> Dockerfile:
    """Parse the Dockerfile at `path`.

    Parameters
    ----------
    path
        The path of the file.
    build_args
        Build arguments, which override the defaults of the ARGs before the first FROM.
    platform
        The platform to build for; None for the engine's.
    build_platform
        The platform of the engine; None for the one of this machine.
    target
        The stage to build, which TARGETSTAGE names; None for the last one.
    build_contexts
        The names of the build contexts beside the main one: they replace stages and images of their names.

    Raises
    ------
    DockerfileError
        If the file is missing, is not UTF-8, or is not a valid Dockerfile.
    SeveralPlatforms
        If `platform` is a list of platforms.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            kind = "is a folder" if stat.S_ISDIR(found.st_mode) else "is no regular file"
            raise DockerfileError(str(path), 0, f"the path {kind}", "give the path of the Dockerfile itself")
        if found.st_size > MAX_BYTES:
            raise DockerfileError(str(path), 0, f"the file is larger than {MAX_BYTES} bytes")
        return parse(
            _decode(path.read_bytes(), str(path)),
            str(path),
            build_args,
            platform=platform,
            build_platform=build_platform,
            target=target,
            build_contexts=build_contexts,
        )
    except FileNotFoundError:
        raise DockerfileError(str(path), 0, "no such file", missing_remedy(path)) from None
    except OSError as error:
        raise DockerfileError(str(path), 0, error.strerror or str(error), f"ls -l {path}") from error


def _decode(data: bytes, path: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DockerfileError(path, 0, "the file is saved as UTF-16", "save it as UTF-8 text")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        raise DockerfileError(path, line, reason, "save it as UTF-8 text") from None


def parse(
    text: str,
    path: str = "Dockerfile",
    build_args: Mapping[str, str] | None = None,
    *,
    platform: str | None = None,
    build_platform: str | None = None,
    target: str | None = None,
    build_contexts: Iterable[str] = (),
) -> Dockerfile:
    """Parse the text of a Dockerfile.

    Parameters
    ----------
    text
        The whole text.
    path
        The path, for messages.
    build_args
        Build arguments, which override the defaults of the ARGs before the first FROM.
    platform
        The platform to build for; None for the engine's.
    build_platform
        The platform of the engine; None for the one of this machine.
    target
        The stage to build, which TARGETSTAGE names; None for the last one.
    build_contexts
        The names of the build contexts beside the main one: they replace stages and images of their names.

    Raises
    ------
    DockerfileError
        If the engine would refuse the text; the error has path, line and reason.
    SeveralPlatforms
        If `platform` is a list of platforms.
    """
    text = check_text(text, path)
    directives = read_directives(text, path)
    parser = _Parser(path, directives.escape, dict(build_args or {}), frozenset(build_contexts))
    for line in logical_lines(text, path, directives.escape):
        parser.add(line)
    stage = target or parser.last_stage_name or "default"
    arguments = automatic_args(platform, build_platform, stage, build_args)
    return parser.finish(text, directives.syntax, arguments)


class _Parser:
    def __init__(
        self, path: str, escape: str, build_args: dict[str, str], build_contexts: frozenset[str]
    ) -> None:
        self._path = path
        self._escape = escape
        self._build_args = build_args
        self._build_contexts = build_contexts
        self._variables: dict[str, str] = {}
        self._global_args: list[Instruction] = []
        self._stages: list[list[Instruction]] = []
        self._expanded_length = 0  # characters that variables added
        # The indexes of the stages of each name, in order: a file can have tens of thousands of stages.
        self._stages_by_name: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, line: LogicalLine) -> None:
        index = len(self._stages[-1]) if self._stages else len(self._global_args)
        instruction = read_instruction(line, index, self._path, self._escape)
        if instruction.keyword == "FROM":
            self._stages.append([replace(instruction, index=0)])
        elif self._stages:
            self._stages[-1].append(instruction)
        elif instruction.keyword == "ARG":
            self._global_args.append(instruction)
        else:
            raise self._error(
                instruction, f"no build stage in current context: {instruction.keyword} before FROM"
            )

    def _define(self, instruction: Instruction) -> None:
        for name, default in arg_defaults(instruction.arguments, self._escape):
            if name in self._build_args:
                self._variables[name] = self._build_args[name]
            elif default is not None:
                self._variables[name] = self._expand(default, instruction)

    def _expand(self, word: str, instruction: Instruction) -> str:
        try:
            found = expand(word, self._variables, self._escape)
        except ValueError as error:
            raise self._error(instruction, str(error)) from None
        self._expanded_length += max(len(found) - len(word), 0)
        if self._expanded_length > MAX_BYTES:
            reason = f"variables make the file larger than {MAX_BYTES} characters"
            raise self._error(instruction, reason, "use fewer ARGs in ARG and FROM")
        return found

    def _error(self, instruction: Instruction, reason: str, remedy: str | None = None) -> DockerfileError:
        return DockerfileError(self._path, instruction.start_line, reason, remedy)

    @property
    def last_stage_name(self) -> str | None:
        """The name of the last stage, if it has one."""
        words = split_whitespace(self._stages[-1][0].arguments) if self._stages else []
        return words[2].lower() if len(words) == 3 else None

    def finish(self, text: str, syntax: str | None, automatic: dict[str, str]) -> Dockerfile:
        if not self._stages:
            raise DockerfileError(self._path, 0, "the file has no FROM", "begin with FROM and a base image")
        self._variables = dict(automatic)
        for instruction in self._global_args:
            self._define(instruction)
        stages = [self._stage(index, instructions) for index, instructions in enumerate(self._stages)]
        edges = [edge for stage in stages for edge in self._edges(stage)]
        return Dockerfile(
            self._path,
            text,
            self._escape,
            syntax,
            tuple(self._global_args),
            tuple(stages),
            tuple(edges),
            self._build_args,
            automatic,
            self._build_contexts,
        )

    def _stage(self, index: int, instructions: list[Instruction]) -> Stage:
        first = instructions[0]
        words = split_whitespace(first.arguments)
        name: str | None = None
        if len(words) == 3 and words[1].upper() == "AS":
            name = words[2].lower()
            if not _STAGE_NAME.match(name):
                reason = f"invalid name for build stage: {words[2]!r}"
                remedy = "begin the name with a letter, and use only letters, digits, - _ ."
                raise self._error(first, reason, remedy)
        elif len(words) != 1:
            reason = "FROM requires either one or three arguments"
            raise self._error(first, reason, "write FROM image AS name")
        base = self._expand(words[0], first)
        if not base:
            reason = f"base name ({words[0]}) should not be blank"
            raise self._error(first, reason, "give the ARG a default before FROM, or pass a build argument")
        # FROM matches the names in lower case, as they are stored: an upper-case name is an image's.
        base_stage = self._earlier_stage(base, index)
        if name is not None:
            self._stages_by_name[name].append(index)
            if context_name(name) in self._build_contexts:
                return Stage(index, name, name, None, None, (first,))
        platform = first.flag("platform")
        platform = self._expand(platform, first) if platform is not None else None
        return Stage(index, name, base, base_stage, platform, tuple(instructions))

    def _earlier_stage(self, name: str, index: int) -> int | None:
        """Return the last stage of that name before `index`."""
        named = self._stages_by_name.get(name, [])
        before = bisect_left(named, index)
        return named[before - 1] if before else None

    def _edges(self, stage: Stage) -> list[StageEdge]:
        edges: list[StageEdge] = []
        if stage.base_stage is not None:
            edges.append(StageEdge(stage.base_stage, stage.index, "from", 0))
        elif stage.base.lower() != "scratch":
            edges.append(StageEdge(stage.base, stage.index, "from", 0))
        for instruction in stage.instructions:
            if instruction.keyword == "COPY" and (source := instruction.flag("from")):
                reference = self._reference(source, stage, instruction)
                edges.append(StageEdge(reference, stage.index, "copy", instruction.index))
            if instruction.keyword == "RUN":
                for flag in instruction.flags:
                    source = mount_options(flag.value or "").get("from") if flag.name == "mount" else None
                    if source:
                        reference = self._reference(source, stage, instruction)
                        edges.append(StageEdge(reference, stage.index, "mount", instruction.index))
        return edges

    def _reference(self, source: str, stage: Stage, instruction: Instruction) -> int | str:
        if self._expand(source, instruction) != source:
            reason = f"--from={source[:60]}: variables are not replaced there"
            remedy = "name a stage instead: ARG v before the first FROM, then FROM $v AS name"
            raise self._error(instruction, reason, remedy)
        earlier = self._earlier_stage(source.lower(), stage.index)
        if earlier is not None:
            return earlier
        for index in self._stages_by_name.get(source.lower(), ()):
            line = self._stages[index][0].start_line
            reason = f"--from={source} names the stage that begins in line {line}"
            raise self._error(instruction, reason, "copy only from earlier stages")
        # A mount has no stage numbers: from=0 is an image of that name.
        if source.isdigit() and instruction.keyword == "COPY":
            if int(source) >= stage.index:
                reason = f"invalid from flag value {source}: no earlier stage has that number"
                raise self._error(instruction, reason, "copy only from earlier stages, which count from 0")
            return int(source)
        return source
