"""Which file holds the context's exclusions, and what it says (moby/patternmatcher's ignorefile).

Needed only where no session is used: in one, the engine reads the file itself and tells us its patterns.
"""

from __future__ import annotations

from pathlib import Path

from stagelens.buildkit.context.content import Contents, read_up_to
from stagelens.buildkit.context.patterns import GO_WHITESPACE, Matcher, clean_path
from stagelens.buildkit.errors import ContextError, PatternError

MAX_BYTES = 1024 * 1024
# The engine reads lines with Go's bufio.Scanner, which gives up at 64 KiB.
_MAX_LINE_BYTES = 64 * 1024 - 1


def load_ignore(context: Path, dockerfile: str | Path = "Dockerfile") -> tuple[str, ...]:
    """Patterns of `<Dockerfile>.dockerignore` where it is there, else of `.dockerignore`, else none.

    The first is looked for beside the Dockerfile (a path relative to the context, or an absolute one, which
    may be outside), the second in the context; symlinks are followed inside of those folders, as the engine
    does.

    Raises
    ------
    ContextError: the file is too large, or cannot be read.
    PatternError: a pattern that the engine refuses, with file and line.
    """
    beside = context / dockerfile
    for folder, name in ((beside.parent, f"{beside.name}.dockerignore"), (context, ".dockerignore")):
        text = read_ignore(folder, name)
        if text is not None:
            return parse_ignore(text, str(folder / name))
    return ()


def parse_ignore(text: bytes, where: str = ".dockerignore") -> tuple[str, ...]:
    """The patterns of an ignore file's text, cleaned; each is checked. Raises as `load_ignore`."""
    patterns: list[str] = []
    for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        place = f"{where}, line {number}"
        if len(line) > _MAX_LINE_BYTES:
            raise ContextError(
                f"A line of an ignore file is longer than {_MAX_LINE_BYTES} bytes.",
                where=place,
                why="the engine cannot read it",
                remedy="check that this is a text file with one pattern a line",
            )
        pattern = _pattern(line.decode("utf-8", "surrogateescape"))
        if pattern is not None:
            try:
                Matcher([pattern])
            except PatternError as error:
                raise PatternError(error.pattern, error.why or "", where=place) from error
            patterns.append(pattern)
    return tuple(patterns)


def _pattern(line: str) -> str | None:
    # A comment begins the line: " # x" is a pattern.
    if line.startswith("#") or not (body := line.strip(GO_WHITESPACE)):
        return None
    negated = body.startswith("!")
    body = body[1:].strip(GO_WHITESPACE) if negated else body
    if body:
        body = clean_path(body)
        body = body[1:] if body.startswith("/") and len(body) > 1 else body
    return "!" + body if negated else body


def read_ignore(folder: Path, name: str) -> bytes | None:
    """What the file holds, or the file that it links to inside `folder`; None where there is none.

    Raises
    ------
    ContextError: the file is too large, or cannot be read.
    """
    with Contents(folder) as contents:
        path = contents.resolve_file(name)
        if path is None:
            return None
        with contents.open_file(path) as (descriptor, size):
            if size > MAX_BYTES:
                raise ContextError(
                    f"An ignore file is larger than {MAX_BYTES} bytes.",
                    where=str(folder / name),
                    remedy="exclude whole folders, or use wildcards",
                )
            return b"".join(read_up_to(descriptor, size, path))
