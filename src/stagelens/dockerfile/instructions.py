"""Text to instructions: directives, logical lines, here-documents, and the checks of each instruction.

The rules are those of BuildKit's frontend/dockerfile/parser and frontend/dockerfile/instructions: directives
count only at the top; comment lines and empty lines inside a continuation are dropped; a here-document
follows RUN, COPY or ADD.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stagelens.dockerfile.errors import DockerfileError
from stagelens.dockerfile.expansion import unquote
from stagelens.dockerfile.model import Flag, Heredoc, Instruction
from stagelens.dockerfile.words import (
    HEREDOC,
    SPACE,
    json_words,
    shell_words,
    split_flags,
    split_keyword,
    split_whitespace,
    split_words,
)

MAX_BYTES = 4 * 1024 * 1024
MAX_LINE = 64 * 1024 - 1  # bytes with the line's end: bufio.MaxScanTokenSize, which limits BuildKit's lines
_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$", re.DOTALL)
_HEREDOC_KEYWORDS = frozenset({"RUN", "COPY", "ADD"})

_BOOLEAN_FLAGS = frozenset({"link", "keep-git-dir", "parents", "unpack"})
_REPEATABLE_FLAGS = frozenset({"exclude", "mount", "device"})
_FLAGS: dict[str, frozenset[str]] = {
    "ADD": frozenset({"chown", "chmod", "link", "keep-git-dir", "checksum", "exclude", "unpack"}),
    "COPY": frozenset({"chown", "chmod", "link", "from", "parents", "exclude"}),
    "FROM": frozenset({"platform"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "start-interval", "retries"}),
    "RUN": frozenset({"mount", "network", "security", "device"}),
}
# BuildKit does not check the flags of these.
_UNCHECKED_FLAGS = frozenset({"ARG", "STOPSIGNAL"})


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """The text of one instruction with its continuation lines joined; lines count from 1, inclusive."""

    text: str
    heredocs: tuple[Heredoc, ...]
    start_line: int
    end_line: int
    source: str


@dataclass(frozen=True, slots=True)
class Directives:
    """The parser directives at the top of a Dockerfile."""

    escape: str = "\\"
    syntax: str | None = None


def check_text(text: str, path: str) -> str:
    """Return the text without its byte order mark.

    Raises
    ------
    DockerfileError
        If the text or one of its lines is too large, or if it holds a NUL character.
    """
    if len(text) > MAX_BYTES:
        raise DockerfileError(path, 0, f"the file is larger than {MAX_BYTES} bytes")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DockerfileError(path, line, "the line holds a NUL character", "save the file as UTF-8 text")
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > MAX_LINE // 4 and len(line.encode("utf-8", "surrogatepass")) + 1 > MAX_LINE:
            reason = f"the line is longer than {MAX_LINE} bytes"
            raise DockerfileError(path, number, reason, "break it into several lines")
    return text.removeprefix("\ufeff")


def read_directives(text: str, path: str) -> Directives:
    """Read the `# escape=` and `# syntax=` lines at the very top of a Dockerfile.

    Raises
    ------
    DockerfileError
        If a directive is repeated, or the escape character is not one of the two that exist.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip(SPACE)
        match = _DIRECTIVE.match(line[1:].lstrip(SPACE)) if line.startswith("#") else None
        if match is None:
            break
        name, value = match[1].lower(), match[2]
        if name not in ("escape", "syntax", "check"):
            break
        if name in found:
            raise DockerfileError(path, number, f"only one {name} parser directive can be used")
        if name == "escape" and value not in ("\\", "`"):
            raise DockerfileError(path, number, f"invalid escape {value!r}: it must be ` or \\")
        found[name] = value
    return Directives(found.get("escape", "\\"), found.get("syntax"))


def logical_lines(text: str, path: str, escape: str) -> Iterator[LogicalLine]:
    """Yield each instruction of a Dockerfile in order, still as text.

    Raises
    ------
    DockerfileError
        If a here-document has no end.
    """
    raw = text.removesuffix("\n").split("\n")
    lines = [line.rstrip("\r") for line in raw]
    continued = _continuation(escape)
    index = 0
    while index < len(lines):
        start = index
        body, index = _join(lines, index, continued)
        if body is None:
            continue
        heredocs, index = _heredocs(body, raw, index, path, start + 1, escape)
        yield LogicalLine(body, heredocs, start + 1, index, "\n".join(raw[start:index]))


def read_instruction(line: LogicalLine, index: int, path: str, escape: str) -> Instruction:
    """Parse one logical line.

    Parameters
    ----------
    line
        The logical line.
    index
        The index of the instruction in its stage.
    path
        The path of the Dockerfile, for errors.
    escape
        The escape character.

    Raises
    ------
    DockerfileError
        If BuildKit would refuse the keyword, a flag or the arguments.
    """
    keyword, rest = split_keyword(line.text)
    flags, arguments = split_flags(rest, escape)
    keyword = keyword.upper()
    check = _CHECKS.get(keyword)
    if check is None:
        close = difflib.get_close_matches(keyword, _CHECKS, 1)
        remedy = f"did you mean {close[0]}?" if close else "check its spelling"
        raise DockerfileError(path, line.start_line, f"unknown instruction: {keyword[:60]}", remedy)
    try:
        words = json_words(arguments) if keyword in _JSON_KEYWORDS else None
        check(keyword, arguments, words, escape)
        read_flags = tuple(_flag(keyword, flag) for flag in flags)
        _check_repeats(keyword, read_flags)
    except _InvalidInstruction as error:
        raise DockerfileError(path, line.start_line, error.reason, error.remedy) from None
    except ValueError as error:
        raise DockerfileError(path, line.start_line, str(error)) from None
    lines = (line.start_line, line.end_line, line.source)
    return Instruction(index, keyword, arguments, read_flags, words, line.heredocs, *lines)


def _continuation(escape: str) -> re.Pattern[str]:
    """Match the escape character at a line's end, unless another one precedes it."""
    mark = re.escape(escape)
    return re.compile(rf"(?:(?<!{mark})|^){mark}[ \t]*$")


def _join(lines: list[str], index: int, continued: re.Pattern[str]) -> tuple[str | None, int]:
    """Return the text of the instruction at `index` (None if the line has none) and the index after it."""
    if _is_blank_or_comment(lines[index]):
        return None, index + 1
    joined: list[str] = []
    line = lines[index].lstrip(SPACE)
    while True:
        index += 1
        match = continued.search(line)
        joined.append(line if match is None else line[: match.start()])
        while match is not None and index < len(lines) and _is_blank_or_comment(lines[index]):
            index += 1
        if match is None or index >= len(lines):
            return "".join(joined).strip(SPACE), index
        line = lines[index]


def _is_blank_or_comment(line: str) -> bool:
    line = line.lstrip(SPACE)
    return not line or line.startswith("#")


def _heredocs(
    body: str, lines: list[str], index: int, path: str, line: int, escape: str
) -> tuple[tuple[Heredoc, ...], int]:
    found: list[Heredoc] = []
    for name, expand, chomp in _heredoc_words(body, escape):
        content: list[str] = []
        while True:
            if index >= len(lines):
                raise DockerfileError(path, line, f"unterminated heredoc: no line is just {name}")
            current = lines[index]
            index += 1
            if (current.lstrip("\t") if chomp else current).rstrip("\r") == name:
                break
            content.append(current)
        found.append(Heredoc(name, "".join(part + "\n" for part in content), expand, chomp))
    return tuple(found), index


def _heredoc_words(body: str, escape: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield each `<<NAME` of an instruction: the name, and whether it expands variables and drops tabs."""
    keyword, rest = split_keyword(body)
    if keyword.upper() == "ONBUILD":
        keyword, rest = split_keyword(split_flags(rest, escape)[1])
    if keyword.upper() not in _HEREDOC_KEYWORDS or "<<" not in body:
        return
    if json_words(split_flags(rest, escape)[1]) is not None:
        return
    for word in shell_words(body):
        match = HEREDOC.fullmatch(word)
        if match is None or len(shell_words(match[3])) != 1:
            continue
        name = unquote(match[3])
        quotes = sum(match[3].count(mark) - name.count(mark) for mark in "'\"")
        yield name, not quotes, bool(match[2])


class _InvalidInstruction(Exception):
    def __init__(self, reason: str, remedy: str | None = None) -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(reason)


def _flag(keyword: str, text: str) -> Flag:
    name, has_value, value = text.removeprefix("--").partition("=")
    if keyword in _UNCHECKED_FLAGS:
        return Flag(name, value if has_value else None)
    if name not in _FLAGS.get(keyword, ()):
        raise _InvalidInstruction(f"unknown flag: --{name[:60]} for {keyword}", "check its spelling")
    if name in _BOOLEAN_FLAGS and (value.lower() not in ("", "true", "false") or (has_value and not value)):
        raise _InvalidInstruction(
            f"expecting a boolean value for --{name}, not {value[:60]!r}", f"write --{name}"
        )
    if name not in _BOOLEAN_FLAGS and not has_value:
        raise _InvalidInstruction(f"missing a value on flag: --{name}", f"write --{name}=value")
    return Flag(name, value if has_value else None)


def _check_repeats(keyword: str, flags: Sequence[Flag]) -> None:
    names = [flag.name for flag in flags if flag.name not in _REPEATABLE_FLAGS]
    for name in names:
        if names.count(name) > 1 and keyword not in _UNCHECKED_FLAGS:
            raise _InvalidInstruction(f"duplicate flag specified: --{name}")


_Words = tuple[str, ...] | None
_Check = Callable[[str, str, _Words, str], None]


def _check_nothing(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    pass


def _check_one(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    if not arguments:
        raise _InvalidInstruction(f"{keyword} requires exactly one argument")


def _check_some(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    if not arguments or words == ():
        raise _InvalidInstruction(f"{keyword} requires at least one argument")


def _check_copy(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    paths = split_whitespace(arguments) if words is None else words
    if len(paths) < 2:
        raise _InvalidInstruction(
            f"{keyword} requires at least two arguments", f"{keyword} source destination"
        )
    if (match := HEREDOC.fullmatch(paths[-1])) and match[3]:
        raise _InvalidInstruction(
            f"{keyword} cannot accept a heredoc as a destination", f"{keyword} <<END destination"
        )


def _check_volume(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    _check_some(keyword, arguments, words, escape)
    if words is not None and not all(word.strip() for word in words):
        raise _InvalidInstruction("VOLUME specified can not be an empty string")


def _check_shell(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    _check_some(keyword, arguments, words, escape)
    if words is None:
        raise _InvalidInstruction(
            "SHELL requires the arguments to be in JSON form", 'SHELL ["/bin/sh", "-c"]'
        )


def _check_pairs(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    _check_some(keyword, arguments, words, escape)
    if any(name.startswith("=") for name in _pair_words(keyword, arguments, escape)):
        raise _InvalidInstruction(f"{keyword} names can not be blank", f"{keyword} name=value")


def _pair_words(keyword: str, arguments: str, escape: str) -> list[str]:
    """Return the `name=value` words; none for the old form, where all that follows the name is its value."""
    found = split_words(arguments, escape)
    if found and "=" not in found[0]:
        if len(split_whitespace(arguments)) < 2:
            raise _InvalidInstruction(f"{keyword} must have two arguments", f"{keyword} name=value")
        return []
    for word in found:
        if "=" not in word:
            raise _InvalidInstruction(f"can't find = in {word[:60]!r}", f"write {keyword} name=value")
    return found


def _check_arg(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    _check_some(keyword, arguments, words, escape)
    if any(word.startswith("=") for word in split_words(arguments, escape)):
        raise _InvalidInstruction("ARG names can not be blank", "ARG name=default")


def _check_healthcheck(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    _check_some(keyword, arguments, words, escape)
    kind, rest = split_keyword(arguments)
    if kind.upper() == "NONE" and rest:
        raise _InvalidInstruction("HEALTHCHECK NONE takes no arguments")
    if kind.upper() == "CMD" and (not rest or json_words(rest) == ()):
        raise _InvalidInstruction("missing command after HEALTHCHECK CMD")
    if kind.upper() not in ("NONE", "CMD"):
        raise _InvalidInstruction(f"unknown type {kind[:60]!r} in HEALTHCHECK", "HEALTHCHECK CMD command")


def _check_onbuild(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    """Refuse only what cannot be parsed: the engine checks the rest where the trigger fires."""
    _check_some(keyword, arguments, words, escape)
    inner, rest = split_keyword(arguments)
    inner, rest = inner.upper(), split_flags(rest, escape)[1]
    if inner in ("ONBUILD", "FROM", "MAINTAINER"):
        raise _InvalidInstruction(f"{inner} isn't allowed as an ONBUILD trigger")
    if inner in _JSON_KEYWORDS:
        json_words(rest)
    if inner in ("ENV", "LABEL"):
        _pair_words(inner, rest, escape)


_CHECKS: dict[str, _Check] = {
    "ADD": _check_copy,
    "ARG": _check_arg,
    "CMD": _check_nothing,
    "COPY": _check_copy,
    "ENTRYPOINT": _check_nothing,
    "ENV": _check_pairs,
    "EXPOSE": _check_some,
    "FROM": _check_nothing,
    "HEALTHCHECK": _check_healthcheck,
    "LABEL": _check_pairs,
    "MAINTAINER": _check_one,
    "ONBUILD": _check_onbuild,
    "RUN": _check_nothing,
    "SHELL": _check_shell,
    "STOPSIGNAL": _check_one,
    "USER": _check_one,
    "VOLUME": _check_volume,
    "WORKDIR": _check_one,
}
_JSON_KEYWORDS = frozenset({"ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME"})
