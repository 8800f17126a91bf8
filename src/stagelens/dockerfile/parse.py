"""Text to Dockerfile: instructions, stages and the edges between them."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from stagelens.dockerfile.errors import DockerfileError
from stagelens.dockerfile.lines import LogicalLine, check_text, logical_lines, read_directives
from stagelens.dockerfile.model import Dockerfile, Edge, Flag, Instruction, Stage
from stagelens.dockerfile.words import expand, split_words

_FIRST_HALF = {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"}
_SECOND_HALF = {"LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
KEYWORDS = frozenset(_FIRST_HALF | _SECOND_HALF)
_WITHOUT_ARGUMENTS = frozenset({"CMD", "ENTRYPOINT", "SHELL"})
_JSON_KEYWORDS = frozenset(["ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME"])
_FLAGS: dict[str, frozenset[str]] = {
    "ADD": frozenset({"chown", "chmod", "link", "keep-git-dir", "checksum", "exclude", "unpack"}),
    "COPY": frozenset({"chown", "chmod", "link", "from", "parents", "exclude"}),
    "FROM": frozenset({"platform"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "start-interval", "retries"}),
    "RUN": frozenset({"mount", "network", "security", "device"}),
}
_STAGE_NAME = re.compile(r"^[a-z][a-z0-9-_.]*$")


def load(path: Path, build_args: Mapping[str, str] | None = None) -> Dockerfile:
    """Parse the file at `path`.

    Raises
    ------
    DockerfileError: the file is not there, not UTF-8, or not a Dockerfile.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DockerfileError(str(path), 0, "there is no such file", "check the folder's name") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DockerfileError(str(path), 0, str(error), "save it as plain UTF-8 text") from error
    return parse(text, str(path), build_args)


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
        self._variables = _platform_arguments() | build_args
        self._known: dict[str, str] = _platform_arguments()
        self._global_args: list[Instruction] = []
        self._stages: list[list[Instruction]] = []

    def take(self, line: LogicalLine) -> None:
        index = len(self._stages[-1]) if self._stages else len(self._global_args)
        instruction = _instruction(line, index, self._path, self._escape)
        if instruction.keyword == "FROM":
            self._stages.append([_with_index(instruction, 0)])
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
        for word in split_words(instruction.arguments, self._escape):
            name, has_default, default = word.partition("=")
            if name in self._build_args:
                self._known[name] = self._build_args[name]
            elif has_default:
                self._known[name] = self._expand(default, instruction)

    def _expand(self, word: str, instruction: Instruction) -> str:
        try:
            return expand(word, self._known, self._escape)
        except ValueError as error:
            raise self._error(instruction, str(error)) from None

    def _error(self, instruction: Instruction, reason: str, remedy: str | None = None) -> DockerfileError:
        return DockerfileError(self._path, instruction.start_line, reason, remedy)

    def finish(self, text: str, syntax: str | None) -> Dockerfile:
        if not self._stages:
            raise DockerfileError(self._path, 0, "there is no FROM", "begin with FROM and a base image")
        stages: list[Stage] = []
        for index, instructions in enumerate(self._stages):
            stages.append(self._stage(index, instructions, stages))
        edges = [edge for stage in stages for edge in self._edges(stage, stages)]
        return Dockerfile(
            self._path, text, self._escape, syntax, tuple(self._global_args), tuple(stages), tuple(edges)
        )

    def _stage(self, index: int, instructions: list[Instruction], earlier: list[Stage]) -> Stage:
        first = instructions[0]
        words = split_words(first.arguments, self._escape)
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
        base_stage = next((s.index for s in reversed(earlier) if s.name == base.lower()), None)
        wanted = first.flag("platform")
        wanted = self._expand(wanted, first) if wanted is not None else None
        return Stage(index, name, base, base_stage, wanted, tuple(instructions))

    def _edges(self, stage: Stage, stages: list[Stage]) -> list[Edge]:
        edges: list[Edge] = []
        if stage.base_stage is not None:
            edges.append(Edge(stage.base_stage, stage.index, "from", 0))
        elif stage.base.lower() != "scratch":
            edges.append(Edge(stage.base, stage.index, "from", 0))
        for instruction in stage.instructions:
            if instruction.keyword == "COPY" and (source := instruction.flag("from")) is not None:
                reference = self._reference(source, stage, stages, instruction)
                edges.append(Edge(reference, stage.index, "copy", instruction.index))
            if instruction.keyword == "RUN":
                for flag in instruction.flags:
                    source = _mount_source(flag)
                    if source:
                        reference = self._reference(source, stage, stages, instruction)
                        edges.append(Edge(reference, stage.index, "mount", instruction.index))
        return edges

    def _reference(
        self, source: str, stage: Stage, stages: list[Stage], instruction: Instruction
    ) -> int | str:
        if not source:
            raise self._error(instruction, "--from needs a stage or an image")
        source = self._expand(source, instruction)
        for other in reversed(stages):
            if other.name == source.lower() and other.index < stage.index:
                return other.index
        later = next((other for other in stages if other.name == source.lower()), None)
        if later is not None:
            reason = f"--from={source} names the stage that begins in line {later.instructions[0].start_line}"
            raise self._error(instruction, reason, "only earlier stages can be copied from")
        if source.isdigit():
            if int(source) >= stage.index:
                reason = f"invalid from flag value {source}: there is no earlier stage of that number"
                raise self._error(instruction, reason, "stages count from 0; only earlier ones can be used")
            return int(source)
        return source


def _instruction(line: LogicalLine, index: int, path: str, escape: str) -> Instruction:
    keyword, _, rest = line.text.partition(" ") if " " in line.text else _split_tab(line.text)
    keyword, rest = _split_tab_first(keyword, rest)
    keyword = keyword.upper()
    if keyword not in KEYWORDS:
        raise DockerfileError(
            path, line.start_line, f"unknown instruction: {keyword[:60]}", "check its spelling"
        )
    flags, arguments = _flags(rest.strip(), keyword, path, line.start_line)
    if not arguments and not line.heredocs and keyword not in _WITHOUT_ARGUMENTS:
        raise DockerfileError(path, line.start_line, f"{keyword} requires at least one argument")
    words = _json_words(arguments) if keyword in _JSON_KEYWORDS else None
    if keyword in ("COPY", "ADD") and len(words or split_words(arguments, escape)) < 2:
        reason = f"{keyword} requires at least two arguments"
        raise DockerfileError(path, line.start_line, reason, f"{keyword} source destination")
    if keyword == "ONBUILD":
        _check_trigger(arguments, line, path, escape)
    return Instruction(
        index, keyword, arguments, flags, words, line.heredocs, line.start_line, line.end_line, line.source
    )


def _check_trigger(arguments: str, line: LogicalLine, path: str, escape: str) -> None:
    inner = arguments.split(None, 1)[0].upper()
    if inner in ("ONBUILD", "FROM", "MAINTAINER"):
        raise DockerfileError(path, line.start_line, f"{inner} isn't allowed as an ONBUILD trigger")
    trigger = LogicalLine(arguments, line.heredocs, line.start_line, line.end_line, line.source)
    _instruction(trigger, 0, path, escape)


def _split_tab(text: str) -> tuple[str, str, str]:
    return text.partition("\t")


def _split_tab_first(keyword: str, rest: str) -> tuple[str, str]:
    """A tab may come before the first space."""
    if "\t" in keyword:
        head, _, tail = keyword.partition("\t")
        return head, f"{tail} {rest}"
    return keyword, rest


def _flags(text: str, keyword: str, path: str, line: int) -> tuple[tuple[Flag, ...], str]:
    flags: list[Flag] = []
    if keyword == "ONBUILD":
        return (), text
    while text.startswith("--"):
        word, _, rest = text.partition(" ")
        if word == "--":
            return tuple(flags), rest.strip()
        name, has_value, value = word[2:].partition("=")
        if keyword not in _FLAGS:
            break
        if name not in _FLAGS[keyword]:
            raise DockerfileError(path, line, f"unknown flag: --{name} for {keyword}", "check its spelling")
        flags.append(Flag(name, value.strip("\"'") if has_value else None))
        text = rest.lstrip()
    return tuple(flags), text


def _json_words(arguments: str) -> tuple[str, ...] | None:
    if not arguments.startswith("["):
        return None
    try:
        value: object = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(str(word) for word in value)
    return None


def _mount_source(flag: Flag) -> str | None:
    if flag.name != "mount" or not flag.value:
        return None
    for part in flag.value.split(","):
        key, _, value = part.partition("=")
        if key.strip().lower() == "from":
            return value.strip()
    return None


def _with_index(instruction: Instruction, index: int) -> Instruction:
    return Instruction(
        index,
        instruction.keyword,
        instruction.arguments,
        instruction.flags,
        instruction.words,
        instruction.heredocs,
        instruction.start_line,
        instruction.end_line,
        instruction.source,
    )


def _platform_arguments() -> dict[str, str]:
    """The ARGs that BuildKit sets by itself, for the machine's own platform."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine().lower())
    values: dict[str, str] = {}
    for side in ("BUILD", "TARGET"):
        values |= {f"{side}PLATFORM": f"linux/{machine}", f"{side}OS": "linux", f"{side}ARCH": machine}
        values[f"{side}VARIANT"] = ""
    return values
