"""The ignore file of a context and its patterns (moby/patternmatcher's ignorefile).

Only builds without a session need this: in a session, the engine reads the file and sends its patterns.
"""

from __future__ import annotations

from pathlib import Path

from stagelens.buildkit.context.content import Contents, read_up_to
from stagelens.buildkit.context.patterns import GO_WHITESPACE, Matcher, clean_path
from stagelens.buildkit.errors import ContextError, PatternError

MAX_BYTES = 1024 * 1024
# The engine reads lines with Go's bufio.Scanner, which fails at 64 KiB.
_MAX_LINE_BYTES = 64 * 1024 - 1


def load_ignore(context: Path, dockerfile: str | Path = "Dockerfile") -> tuple[str, ...]:
    """Read the patterns of `<Dockerfile>.dockerignore` if it exists, else of `.dockerignore`, else none.

    The first is beside the Dockerfile, the second in the context. Symlinks are followed inside of those
    folders, as the engine does.

    Parameters
    ----------
    context
        The context's folder.
    dockerfile
        A path relative to the context, or an absolute one, which may be outside.

    Raises
    ------
    ContextError
        If the file is too large or cannot be read.
    PatternError
        If the engine rejects a pattern; the error names file and line.
    """
    beside = context / dockerfile
    for folder, name in ((beside.parent, f"{beside.name}.dockerignore"), (context, ".dockerignore")):
        text = read_ignore(folder, name)
        if text is not None:
            return parse_ignore(text, str(folder / name))
    return ()


def parse_ignore(text: bytes, where: str = ".dockerignore") -> tuple[str, ...]:
    """Parse and check the text of an ignore file.

    Parameters
    ----------
    text
        The file's content.
    where
        The file's name, for errors.

    Returns
    -------
    tuple[str, ...]
        The cleaned patterns.

    Raises
    ------
    ContextError
        If a line is too long.
    PatternError
        If the engine rejects a pattern; the error names file and line.
    """
    patterns: list[str] = []
    for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        location = f"{where}, line {number}"
        if len(line) > _MAX_LINE_BYTES:
            raise ContextError(
                f"A line of an ignore file is longer than {_MAX_LINE_BYTES} bytes.",
                where=location,
                why="the engine cannot read it",
                remedy="check that this is a text file with one pattern on each line",
            )
        pattern = _pattern(line.decode("utf-8", "surrogateescape"))
        if pattern is not None:
            try:
                Matcher([pattern])
            except PatternError as error:
                raise PatternError(error.pattern, error.why or "", where=location) from error
            patterns.append(pattern)
    return tuple(patterns)


def _pattern(line: str) -> str | None:
    # A comment starts at the first column: " # x" is a pattern.
    if line.startswith("#") or not (body := line.strip(GO_WHITESPACE)):
        return None
    negated = body.startswith("!")
    body = body[1:].strip(GO_WHITESPACE) if negated else body
    if body:
        body = clean_path(body)
        body = body[1:] if body.startswith("/") and len(body) > 1 else body
    return "!" + body if negated else body


def read_ignore(folder: Path, name: str) -> bytes | None:
    """Return the content of an ignore file, or of its target inside of `folder`; None if there is none.

    Parameters
    ----------
    folder
        The folder to look in.
    name
        The file's name.

    Raises
    ------
    ContextError
        If the file is too large or cannot be read.
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
