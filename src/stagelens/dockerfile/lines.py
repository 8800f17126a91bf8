"""Text to logical lines: directives, comments, continuations and here-documents.

The rules are those of BuildKit's frontend/dockerfile/parser: directives only at the top; a comment line is
dropped even inside a continuation, and so is an empty line there; a here-document follows RUN, COPY or ADD.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stagelens.dockerfile.errors import DockerfileError
from stagelens.dockerfile.expand import unquote
from stagelens.dockerfile.model import Heredoc
from stagelens.dockerfile.words import HEREDOC, SPACE, json_words, shell_words, split_flags, split_keyword

MAX_BYTES = 4 * 1024 * 1024
MAX_LINE = 64 * 1024 - 1  # bytes with the line's end: bufio.MaxScanTokenSize, which BuildKit reads lines by
_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$", re.DOTALL)
_HEREDOC_KEYWORDS = frozenset({"RUN", "COPY", "ADD"})


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """One instruction's text with continuations joined; lines are 1-based and inclusive."""

    text: str
    heredocs: tuple[Heredoc, ...]
    start_line: int
    end_line: int
    source: str


@dataclass(frozen=True, slots=True)
class Directives:
    """The parser directives at the top of the file."""

    escape: str = "\\"
    syntax: str | None = None


def check_text(text: str, path: str) -> str:
    """The text without a byte order mark.

    Raises
    ------
    DockerfileError: it or one of its lines is too large, or it holds a NUL.
    """
    if len(text) > MAX_BYTES:
        raise DockerfileError(path, 0, f"the file is larger than {MAX_BYTES} bytes")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DockerfileError(path, line, "a NUL character", "save the file as plain UTF-8 text")
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > MAX_LINE // 4 and len(line.encode("utf-8", "surrogatepass")) + 1 > MAX_LINE:
            reason = f"the line is longer than {MAX_LINE} bytes"
            raise DockerfileError(path, number, reason, "break it into several lines")
    return text.removeprefix("\ufeff")


def read_directives(text: str, path: str) -> Directives:
    """`# escape=` and `# syntax=`, which count only before anything else, comments included."""
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


def continuation(escape: str) -> re.Pattern[str]:
    """What makes a line go on: the escape character at its end, unless another one stands before it."""
    mark = re.escape(escape)
    return re.compile(rf"(?:(?<!{mark})|^){mark}[ \t]*$")


def logical_lines(text: str, path: str, escape: str) -> Iterator[LogicalLine]:
    """Each instruction of the file in order."""
    raw = text.removesuffix("\n").split("\n")
    lines = [line.rstrip("\r") for line in raw]
    continued = continuation(escape)
    index = 0
    while index < len(lines):
        start = index
        body, index = _joined(lines, index, continued)
        if body is None:
            continue
        heredocs, index = _heredocs(body, raw, index, path, start + 1, escape)
        yield LogicalLine(body, heredocs, start + 1, index, "\n".join(raw[start:index]))


def _joined(lines: list[str], index: int, continued: re.Pattern[str]) -> tuple[str | None, int]:
    """The text of the instruction that begins at `index`, None where none does, and the index after it."""
    if _is_nothing(lines[index]):
        return None, index + 1
    joined: list[str] = []
    line = lines[index].lstrip(SPACE)
    while True:
        index += 1
        match = continued.search(line)
        joined.append(line if match is None else line[: match.start()])
        while match is not None and index < len(lines) and _is_nothing(lines[index]):
            index += 1
        if match is None or index >= len(lines):
            return "".join(joined).strip(SPACE), index
        line = lines[index]


def _is_nothing(line: str) -> bool:
    """Whether it is empty or a comment, which do not end a continuation."""
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
    """Name, whether variables expand, whether tabs are dropped, for each `<<NAME` of an instruction."""
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
