"""Which file holds the context's exclusions, and what it says.

Needed only where no session is used: in one, the engine reads the file itself and tells us its patterns.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from stagelens.buildkit.context.errors import ContextError, PatternError
from stagelens.buildkit.context.patterns import Matcher

MAX_BYTES = 1024 * 1024


def load_ignore(context: Path, dockerfile: str = "Dockerfile") -> tuple[str, ...]:
    """Patterns of `<Dockerfile>.dockerignore` where it is there, else of `.dockerignore`, else none.

    Raises
    ------
    ContextError: the file is not text, too large, or holds a pattern that the engine refuses.
    """
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        path = context / name
        if path.is_file():
            return _parse(path)
    return ()


def _parse(path: Path) -> tuple[str, ...]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ContextError(f"{path.name} is larger than {MAX_BYTES} bytes.", where=str(path))
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ContextError(f"{path.name} cannot be read.", where=str(path), why=str(error)) from error
    patterns: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith("#") or not (pattern := line.strip()):
            continue
        negated = pattern.startswith("!")
        body = pattern.removeprefix("!").strip() if negated else pattern
        if body:
            body = posixpath.normpath(body)
            body = body.lstrip("/") or "/"
        try:
            Matcher([("!" if negated else "") + body])
        except PatternError as error:
            raise ContextError(error.what, where=f"{path}, line {number}", why=error.why) from error
        patterns.append(("!" if negated else "") + body)
    return tuple(patterns)
