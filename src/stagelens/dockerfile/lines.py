"""Text to logical lines: directives, comments, continuations and here-documents.

The rules are those of BuildKit's frontend/dockerfile/parser: directives only at the top; a comment line is
dropped even inside a continuation, and so is an empty line there; a here-document follows RUN, COPY or ADD.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stagelens.dockerfile.errors import DockerfileError
from stagelens.dockerfile.model import Heredoc

MAX_BYTES = 4 * 1024 * 1024
_DIRECTIVE = re.compile(r"^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_HEREDOC = re.compile(r"^(\d*)<<(-?)([^<\s]+)$")
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
    DockerfileError: it is too large or holds a NUL.
    """
    if len(text) > MAX_BYTES:
        raise DockerfileError(path, 0, f"the file is larger than {MAX_BYTES} bytes")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DockerfileError(path, line, "a NUL character", "save the file as plain UTF-8 text")
    return text.removeprefix("\ufeff")


def read_directives(text: str, path: str) -> Directives:
    """`# escape=` and `# syntax=`, which count only before anything else, comments included."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        match = _DIRECTIVE.match(line.strip())
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
    """Each instruction of the file in order."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    continued = re.compile(rf"{re.escape(escape)}[ \t]*$")
    index = 0
    while index < len(lines):
        if not lines[index].strip() or lines[index].lstrip().startswith("#"):
            index += 1
            continue
        start = index
        joined: list[str] = []
        while index < len(lines):
            line = lines[index]
            index += 1
            inside = bool(joined)
            if inside and (not line.strip() or line.lstrip().startswith("#")):
                continue
            if not inside:
                line = line.lstrip()
            match = continued.search(line)
            if match is None:
                joined.append(line)
                break
            joined.append(line[: match.start()])
        end = _last_used(lines, start, index)
        body = "".join(joined).strip()
        heredocs, index = _heredocs(body, lines, index, path, start + 1)
        if heredocs:
            end = index
        if body:
            yield LogicalLine(body, heredocs, start + 1, end, "\n".join(lines[start:end]))


def _last_used(lines: list[str], start: int, index: int) -> int:
    """The last line that is not an empty one: a continuation at the file's end takes those in."""
    while index - 1 > start and not lines[index - 1].strip():
        index -= 1
    return index


def _heredocs(
    body: str, lines: list[str], index: int, path: str, line: int
) -> tuple[tuple[Heredoc, ...], int]:
    keyword = body.split(None, 1)[0].upper() if body else ""
    inner = body
    if keyword == "ONBUILD":
        inner = body.partition(" ")[2].strip()
        keyword = inner.split(None, 1)[0].upper() if inner else ""
    if keyword not in _HEREDOC_KEYWORDS or "<<" not in inner:
        return (), index
    if keyword != "RUN" and inner.rstrip().endswith("]"):
        return (), index
    found: list[Heredoc] = []
    for word in inner.split():
        match = _HEREDOC.match(word)
        if match is None:
            continue
        name = match[3].strip("\"'")
        chomp, expand = bool(match[2]), name == match[3]
        content: list[str] = []
        while True:
            if index >= len(lines):
                raise DockerfileError(path, line, f"unterminated heredoc: no line is just {name}")
            current = lines[index]
            index += 1
            if (current.lstrip("\t") if chomp else current) == name:
                break
            content.append(current.lstrip("\t") if chomp else current)
        found.append(Heredoc(name, "".join(part + "\n" for part in content), expand))
    return tuple(found), index
