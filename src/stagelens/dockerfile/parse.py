"""Text to Dockerfile: instructions, stages and the edges between them."""

from __future__ import annotations

import codecs
import re
import stat
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stagelens.dockerfile.errors import DockerfileError
from stagelens.dockerfile.expand import expand
from stagelens.dockerfile.instruction import read
from stagelens.dockerfile.lines import MAX_BYTES, LogicalLine, check_text, logical_lines, read_directives
from stagelens.dockerfile.model import Dockerfile, Edge, Instruction, Stage
from stagelens.dockerfile.platforms import platform_arguments
from stagelens.dockerfile.words import declared, mount_options, split_blanks

_STAGE_NAME = re.compile(r"^[a-z][a-z0-9-_.]*$")


def load(path: Path, build_args: Mapping[str, str] | None = None) -> Dockerfile:
    """Parse the file at `path`.

    Raises
    ------
    DockerfileError: the file is not there, not UTF-8, or not a Dockerfile.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
            raise DockerfileError(str(path), 0, f"it is {kind}", "give the path of the Dockerfile itself")
        if found.st_size > MAX_BYTES:
            raise DockerfileError(str(path), 0, f"the file is larger than {MAX_BYTES} bytes")
        return parse(_decoded(path.read_bytes(), str(path)), str(path), build_args)
    except FileNotFoundError:
        raise DockerfileError(str(path), 0, "there is no such file", "check the folder's name") from None
    except OSError as error:
        raise DockerfileError(str(path), 0, error.strerror or str(error), f"ls -l {path}") from error


def _decoded(data: bytes, path: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DockerfileError(path, 0, "it is saved as UTF-16", "save it as plain UTF-8 text")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        raise DockerfileError(path, line, reason, "save it as plain UTF-8 text") from None


def parse(text: str, path: str = "Dockerfile", build_args: Mapping[str, str] | None = None) -> Dockerfile:
    """Parse a Dockerfile's text; `build_args` override the ARGs before the first FROM.

    Raises
    ------
    DockerfileError: with file, line and reason, as the engine would refuse it.
    """
    text = check_text(text, path)
    directives = read_directives(text, path)
    parser = _Parser(path, directives.escape, dict(build_args or {}))
    for line in logical_lines(text, path, directives.escape):
        parser.take(line)
    return parser.finish(text, directives.syntax)


class _Parser:
    def __init__(self, path: str, escape: str, build_args: dict[str, str]) -> None:
        self._path = path
        self._escape = escape
        self._build_args = build_args
        self._known: dict[str, str] = platform_arguments()
        self._global_args: list[Instruction] = []
        self._stages: list[list[Instruction]] = []
        self._grown = 0  # characters that variables added
        # The indexes of the stages of each name, in order: a file can have tens of thousands of stages.
        self._named: defaultdict[str, list[int]] = defaultdict(list)

    def take(self, line: LogicalLine) -> None:
        index = len(self._stages[-1]) if self._stages else len(self._global_args)
        instruction = read(line, index, self._path, self._escape)
        if instruction.keyword == "FROM":
            self._stages.append([replace(instruction, index=0)])
        elif self._stages:
            self._stages[-1].append(instruction)
        elif instruction.keyword == "ARG":
            self._global_args.append(instruction)
            self._define(instruction)
        else:
            raise self._error(
                instruction, f"no build stage in current context: {instruction.keyword} before FROM"
            )

    def _define(self, instruction: Instruction) -> None:
        for name, default in declared(instruction.arguments, self._escape):
            if name in self._build_args:
                self._known[name] = self._build_args[name]
            elif default is not None:
                self._known[name] = self._expand(default, instruction)

    def _expand(self, word: str, instruction: Instruction) -> str:
        try:
            found = expand(word, self._known, self._escape)
        except ValueError as error:
            raise self._error(instruction, str(error)) from None
        self._grown += max(len(found) - len(word), 0)
        if self._grown > MAX_BYTES:
            reason = f"variables make the file larger than {MAX_BYTES} characters"
            raise self._error(instruction, reason, "use fewer ARGs in ARG and FROM")
        return found

    def _error(self, instruction: Instruction, reason: str, remedy: str | None = None) -> DockerfileError:
        return DockerfileError(self._path, instruction.start_line, reason, remedy)

    def finish(self, text: str, syntax: str | None) -> Dockerfile:
        if not self._stages:
            raise DockerfileError(self._path, 0, "there is no FROM", "begin with FROM and a base image")
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
        )

    def _stage(self, index: int, instructions: list[Instruction]) -> Stage:
        first = instructions[0]
        words = split_blanks(first.arguments)
        name: str | None = None
        if len(words) == 3 and words[1].upper() == "AS":
            name = words[2].lower()
            if not _STAGE_NAME.match(name):
                reason = f"invalid name for build stage: {words[2]!r}"
                raise self._error(first, reason, "a name has letters, digits, - _ . and begins with a letter")
        elif len(words) != 1:
            raise self._error(first, "FROM requires either one or three arguments", "FROM image AS name")
        base = self._expand(words[0], first)
        if not base:
            reason = f"base name ({words[0]}) should not be blank"
            raise self._error(first, reason, "give the ARG a default before FROM, or pass a build argument")
        base_stage = self._earlier(base, index)
        if name is not None:
            self._named[name].append(index)
        wanted = first.flag("platform")
        wanted = self._expand(wanted, first) if wanted is not None else None
        return Stage(index, name, base, base_stage, wanted, tuple(instructions))

    def _earlier(self, name: str, index: int) -> int | None:
        """The last stage of that name before `index`."""
        named = self._named.get(name.lower(), [])
        before = bisect_left(named, index)
        return named[before - 1] if before else None

    def _edges(self, stage: Stage) -> list[Edge]:
        edges: list[Edge] = []
        if stage.base_stage is not None:
            edges.append(Edge(stage.base_stage, stage.index, "from", 0))
        elif stage.base.lower() != "scratch":
            edges.append(Edge(stage.base, stage.index, "from", 0))
        for instruction in stage.instructions:
            if instruction.keyword == "COPY" and (source := instruction.flag("from")):
                reference = self._reference(source, stage, instruction)
                edges.append(Edge(reference, stage.index, "copy", instruction.index))
            if instruction.keyword == "RUN":
                for flag in instruction.flags:
                    source = mount_options(flag.value or "").get("from") if flag.name == "mount" else None
                    if source:
                        reference = self._reference(source, stage, instruction)
                        edges.append(Edge(reference, stage.index, "mount", instruction.index))
        return edges

    def _reference(self, source: str, stage: Stage, instruction: Instruction) -> int | str:
        if self._expand(source, instruction) != source:
            reason = f"--from={source[:60]}: variables are not replaced there"
            raise self._error(
                instruction, reason, "give it a stage: ARG v before the first FROM, FROM $v AS name"
            )
        earlier = self._earlier(source, stage.index)
        if earlier is not None:
            return earlier
        for index in self._named.get(source.lower(), ()):
            begins = self._stages[index][0].start_line
            reason = f"--from={source} names the stage that begins in line {begins}"
            raise self._error(instruction, reason, "only earlier stages can be copied from")
        # A mount knows no numbers: from=0 is an image of that name.
        if source.isdigit() and instruction.keyword == "COPY":
            if int(source) >= stage.index:
                reason = f"invalid from flag value {source}: there is no earlier stage of that number"
                raise self._error(instruction, reason, "stages count from 0; only earlier ones can be used")
            return int(source)
        return source
