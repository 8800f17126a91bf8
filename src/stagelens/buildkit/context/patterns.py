"""The engine's file patterns (moby/patternmatcher): not gitignore's, not the shell's.

A pattern is cleaned like a path; `*` and `?` stop at '/', `**` does not; `!` takes back what an earlier
pattern matched; a match of a folder holds for what is below it. Patterns are tried in order, the last one
that changes the answer wins.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from stagelens.buildkit.context.errors import ContextError

_SPECIAL = set("*?[\\")
_ESCAPED = set(".+()|{}$^")


class PatternError(ContextError):
    """A pattern that the engine refuses; `pattern` is its text."""

    def __init__(self, pattern: str, reason: str) -> None:
        self.pattern = pattern
        super().__init__(
            f"The pattern {pattern!r} is not valid.",
            why=reason,
            remedy="see the pattern rules of .dockerignore; escape a special character with a backslash",
        )


@dataclass(frozen=True, slots=True)
class _Pattern:
    regex: re.Pattern[str]
    negated: bool
    text: str
    literal_prefix: str


class Matcher:
    """Patterns in order; `match` answers for a path, given what they said of its parent folder."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(p for p in map(_compile, patterns) if p is not None)
        self.has_negation = any(p.negated for p in self._patterns)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def match(self, path: str, parent: tuple[bool, ...] | None = None) -> tuple[bool, tuple[bool, ...]]:
        """Whether `path` matches, and each pattern's own answer, to be passed on for its children."""
        matched = False
        answers: list[bool] = []
        for index, pattern in enumerate(self._patterns):
            own = bool(parent and parent[index]) or pattern.regex.match(path) is not None
            answers.append(own)
            if own:
                matched = not pattern.negated
        return matched, tuple(answers)

    def may_match_below(self, folder: str, *, negated: bool) -> bool:
        """Whether one of the (negated) patterns could match something below `folder`."""
        inside = folder + "/"
        for pattern in self._patterns:
            if pattern.negated != negated:
                continue
            prefix = pattern.literal_prefix
            if prefix.startswith(inside) or inside.startswith(prefix) or prefix == folder:
                return True
        return False


def _compile(raw: str) -> _Pattern | None:
    text = raw.strip()
    if not text:
        return None
    text = _clean(text)
    negated = text.startswith("!")
    if negated:
        text = text[1:]
        if not text:
            raise PatternError(raw, "a lone ! excludes nothing")
    try:
        regex = re.compile(_translate(text, raw), re.DOTALL)
    except re.error as error:
        raise PatternError(raw, str(error)) from error
    special = next((i for i, character in enumerate(text) if character in _SPECIAL), len(text))
    return _Pattern(regex, negated, text, text[:special])


def _clean(path: str) -> str:
    cleaned = posixpath.normpath(path)
    # Python keeps two leading slashes (POSIX allows them a meaning); Go does not.
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


def _translate(text: str, raw: str) -> str:
    """A regular expression, anchored at both ends by the caller's use of match and the final \\Z."""
    if text == "**":
        return r".*\Z"
    rest = text[2:]
    if text.startswith("**") and not set(rest) & _SPECIAL:
        # "**/x" means x in any folder; "**x" anything that ends in x.
        return rf"(?:.*/)?{re.escape(rest[1:])}\Z" if rest.startswith("/") else rf".*{re.escape(rest)}\Z"
    if text.endswith("**") and not set(text[:-2]) & _SPECIAL:
        return rf"{re.escape(text[:-2])}.*\Z"
    out: list[str] = []
    index = 0
    while index < len(text):
        character = text[index]
        index += 1
        if character == "*":
            if text[index : index + 1] != "*":
                out.append("[^/]*")
                continue
            index += 1
            if text[index : index + 1] == "/":
                index += 1
            out.append(".*" if index >= len(text) else "(?:.*/)?")
        elif character == "?":
            out.append("[^/]")
        elif character == "\\":
            if index >= len(text):
                raise PatternError(raw, "a backslash with nothing after it")
            out.append(re.escape(text[index]))
            index += 1
        elif character == "[":
            index = _translate_class(text, index, out, raw)
        else:
            out.append(re.escape(character))
    return "".join(out) + r"\Z"


def _translate_class(text: str, index: int, out: list[str], raw: str) -> int:
    """A [class] as Go's filepath.Match reads it: `^` negates, a backslash escapes, no empty class."""
    negate = text[index : index + 1] == "^"
    if negate:
        index += 1
    members: list[str] = []
    while index < len(text) and (text[index] != "]" or not members):
        if text[index] in "]-":
            raise PatternError(raw, "a character class needs an escaped ] or -")
        low, index = _class_character(text, index, raw)
        high = low
        if text[index : index + 1] == "-":
            high, index = _class_character(text, index + 1, raw)
        if high < low:
            raise PatternError(raw, f"the range {low}-{high} runs backwards")
        members.append(f"{re.escape(low)}-{re.escape(high)}")
    if index >= len(text):
        raise PatternError(raw, "a [ without its ]")
    out.append(("(?!/)[^" if negate else "(?!/)[") + "".join(members) + "]")
    return index + 1


def _class_character(text: str, index: int, raw: str) -> tuple[str, int]:
    if text[index : index + 1] == "\\":
        index += 1
    if index >= len(text):
        raise PatternError(raw, "a [ without its ]")
    return text[index], index + 1
