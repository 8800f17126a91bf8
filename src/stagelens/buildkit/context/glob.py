"""Patterns for one name, with the grammar of Go's path/filepath.Match.

The engine's patterns must be valid in this grammar before anything else is done with them, and the
wildcards in `followpaths` mean what it says. Its own points: `^` and not `!` negates a [class], a class
is never empty, and `-` or `]` in a class needs a backslash.
"""

from __future__ import annotations

import re

from stagelens.buildkit.context.errors import PatternError

# Undecodable bytes of a name, as Python keeps them in a str; Go's patterns see U+FFFD for each of them.
_UNDECODABLE = re.compile("[\udc80-\udcff]")


def readable(text: str) -> str:
    """`text` as Go's matchers see it: U+FFFD in place of each byte that is no UTF-8."""
    return _UNDECODABLE.sub("\ufffd", text)


def has_wildcards(pattern: str) -> bool:
    """Whether an unescaped `*`, `?` or `[` is in it."""
    return any(found[1] for found in re.finditer(r"\\.|([*?\[])", pattern, re.DOTALL))


def compile_glob(pattern: str) -> re.Pattern[str]:
    """A regular expression for `fullmatch` on one name, made readable before.

    Raises
    ------
    PatternError: the pattern is not in the grammar.
    """
    out: list[str] = []
    index = 0
    while index < len(pattern):
        character = pattern[index]
        index += 1
        if character == "*":
            out.append("[^/]*")
        elif character == "?":
            out.append("[^/]")
        elif character == "[":
            index = _class(pattern, index, out)
        elif character == "\\":
            if index == len(pattern):
                raise PatternError(pattern, "nothing follows its last backslash")
            out.append(re.escape(readable(pattern[index])))
            index += 1
        else:
            out.append(re.escape(readable(character)))
    return re.compile("".join(out))


def _class(pattern: str, index: int, out: list[str]) -> int:
    """Append the class that begins before `index`; the index after its `]`."""
    negated = pattern[index : index + 1] == "^"
    index += negated
    members: list[str] = []
    while pattern[index : index + 1] != "]" or not members:
        low, index = _member(pattern, index)
        high = low
        if pattern[index : index + 1] == "-":
            high, index = _member(pattern, index + 1)
        # A range that runs backwards is valid and holds nothing.
        members.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    inside = "".join(members)
    if inside:
        out.append(f"[{'^' if negated else ''}{inside}]")
    else:
        out.append("(?s:.)" if negated else "(?!)")
    return index + 1


def _member(pattern: str, index: int) -> tuple[str, int]:
    if pattern[index : index + 1] in ("-", "]"):
        raise PatternError(pattern, f"{pattern[index]!r} in a [class] needs a backslash, a class a member")
    if pattern[index : index + 1] == "\\":
        index += 1
    if index + 1 >= len(pattern):
        raise PatternError(pattern, "a [ has no ]")
    if _UNDECODABLE.match(pattern[index]):
        raise PatternError(pattern, "a [class] holds a byte that is not UTF-8")
    return pattern[index], index + 1
