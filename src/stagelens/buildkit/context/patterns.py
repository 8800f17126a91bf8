"""The engine's file patterns (moby/patternmatcher): not gitignore's, not the shell's.

A pattern is cleaned like a path; `*` and `?` stop at '/', `**` does not; `!` takes back what an earlier
pattern matched; a match of a folder holds for what is below it. Patterns are tried in order, the last one
that changes the answer wins. docs/decisions/0035-context-patterns.md says why no library does it.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from stagelens.buildkit.context.goregexp import GoSyntaxError, translate
from stagelens.buildkit.errors import PatternError

# What Go's unicode.IsSpace calls white; Python's strip() takes four control characters more.
GO_WHITESPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_NOT_A_PREFIX = frozenset("*[]?^\\")
# What patternmatcher escapes for Go's compiler. It means to escape |, { and } too, but its table has no
# room for them: `a|b*` is two alternatives, and `*.{1}` counts.
_ESCAPED = frozenset(".+()$")
# Undecodable bytes of a name, as Python keeps them in a str; Go's patterns see U+FFFD for each of them.
_UNDECODABLE = re.compile("[\udc80-\udcff]")


def clean_path(path: str) -> str:
    """The shortest path of the same meaning, as Go's path.Clean: no `.`, no `//`, no slash at the end."""
    cleaned = posixpath.normpath(path)
    # POSIX lets two leading slashes have a meaning of their own, and Python keeps them.
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


def encode_path(text: str) -> bytes:
    """Pattern or path as the bytes that a file system has."""
    return text.encode("utf-8", "surrogateescape")


def decode_path(path: bytes) -> str:
    """A path as the engine's expressions see it: U+FFFD for each byte that is not UTF-8."""
    try:
        return path.decode()
    except UnicodeDecodeError:
        return replace_invalid_utf8(path.decode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, cleaned: `text` is without the `!` that `negated` stands for."""

    text: str
    negated: bool

    @property
    def prefix(self) -> str | None:
        """The path that its matches begin with (a `/**` or `/*` at the end left off), None where unclear."""
        prefix = self.text.removesuffix("/**").removesuffix("/*")
        return None if _NOT_A_PREFIX & set(prefix) else prefix


def parse_pattern(raw: str, *, windows: bool = os.name == "nt") -> Pattern | None:
    """The pattern that `raw` stands for; None where it is blank. On Windows a backslash is a separator.

    Raises
    ------
    PatternError: the engine refuses it.
    """
    text = raw.strip(GO_WHITESPACE)
    if not text:
        return None
    text = clean_path(text.replace("\\", "/") if windows else text)
    negated = text.startswith("!")
    if negated:
        text = text[1:]
        if not text:
            raise PatternError(raw, "a lone ! takes nothing back")
    compile_glob(text)
    return Pattern(text, negated)


@dataclass(slots=True)
class _PatternGroup:
    """Neighbouring patterns of one kind (negated or not), asked as one: does any of them match?

    patternmatcher distinguishes matches of the whole text, of its beginning, of its end and of a regular
    expression; the first three compare bytes.
    """

    negated: bool
    exact: set[bytes] = field(default_factory=set[bytes])
    starts: tuple[bytes, ...] = ()
    ends: tuple[bytes, ...] = ()
    expressions: list[str] = field(default_factory=list[str])
    compiled: re.Pattern[str] | None = None

    def add(self, text: str) -> None:
        simple = not set(text) & set("*?[]\\")
        begin, end = text[:-2], text[2:]
        if simple:
            self.exact.add(encode_path(text))
        elif text.startswith("**") and not set(end) & set("*?[]\\"):
            self.ends += (encode_path(end),)
            if end.startswith("/"):
                self.exact.add(encode_path(end[1:]))
        elif text.endswith("**") and not set(begin) & set("*?[]\\"):
            self.starts += (encode_path(begin),)
        else:
            self._add_expression(text)

    def _add_expression(self, text: str) -> None:
        # Go's scanner skips a byte order mark in front.
        expression = _go_expression(replace_invalid_utf8(text).removeprefix("\ufeff"))
        try:
            self.expressions.append(translate(expression))
        except GoSyntaxError as error:
            raise PatternError(text, str(error)) from error

    def close(self) -> None:
        if self.expressions:
            self.compiled = re.compile("|".join(self.expressions))

    def matches(self, path: bytes) -> bool:
        if path in self.exact or path.startswith(self.starts) or path.endswith(self.ends):
            return True
        return self.compiled is not None and self.compiled.match(decode_path(path)) is not None


class Matcher:
    """Patterns in order. `step` is for a walk, which knows the parent's answer; `matches` for a single path.

    The state that `step` hands on has a bit for each group of patterns of one kind. patternmatcher keeps one
    for each pattern, which comes to the same: within a group only "any of them" changes an answer.
    """

    def __init__(self, patterns: Iterable[str], *, windows: bool = os.name == "nt") -> None:
        """Compile. Raises PatternError where the engine refuses a pattern."""
        self.patterns = tuple(p for raw in patterns if (p := parse_pattern(raw, windows=windows)) is not None)
        groups: list[_PatternGroup] = []
        for pattern in self.patterns:
            if not groups or groups[-1].negated != pattern.negated:
                groups.append(_PatternGroup(pattern.negated))
            groups[-1].add(pattern.text)
        for group in groups:
            group.close()
        self._groups = tuple((1 << index, group.negated, group.matches) for index, group in enumerate(groups))
        self._below = {negated: self._prefixes(negated) for negated in (False, True)}

    def _prefixes(self, negated: bool) -> tuple[bytes, ...] | None:
        prefixes = [p.prefix for p in self.patterns if p.negated == negated]
        known = [encode_path(prefix) + b"/" for prefix in prefixes if prefix is not None]
        return tuple(known) if len(known) == len(prefixes) else None

    def step(self, path: bytes, parent: int = 0) -> tuple[bool, int]:
        """Whether `path` matches, given its parent's state (0 at the top), and its own state."""
        matched = False
        state = 0
        for bit, negated, test in self._groups:
            if parent & bit or (negated == matched and test(path)):
                state |= bit
                matched = not negated
        return matched, state

    def matches(self, path: bytes) -> bool:
        """Whether `path` or what it lies in matches."""
        state, at, matched = 0, -1, False
        while at < len(path):
            at = path.find(b"/", at + 1)
            at = len(path) if at < 0 else at
            matched, state = self.step(path[:at], state)
        return matched

    def may_match_below(self, folder: bytes, *, negated: bool) -> bool:
        """The engine's rule for looking into a folder that itself is out (fsutil's filter.go).

        False only where every pattern of that kind begins with a plain path that does not lead into it.
        """
        prefixes = self._below[negated]
        inside = folder + b"/"
        return prefixes is None or any(prefix.startswith(inside) for prefix in prefixes)


def _go_expression(text: str) -> str:
    """The expression that patternmatcher hands to Go's compiler."""
    out = ["^"]
    index = 0
    while index < len(text):
        character = text[index]
        index += 1
        if character == "*" and text[index : index + 1] == "*":
            index += 2 if text[index + 1 : index + 2] == "/" else 1
            out.append("(.*/)?" if index < len(text) else ".*")
        elif character == "*":
            out.append("[^/]*")
        elif character == "?":
            out.append("[^/]")
        elif character == "\\":
            out.append("\\" + text[index : index + 1])
            index += 1
        else:
            out.append("\\" + character if character in _ESCAPED else character)
    return "".join(out) + "$"


def replace_invalid_utf8(text: str) -> str:
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
            index = _glob_class(pattern, index, out)
        elif character == "\\":
            if index == len(pattern):
                raise PatternError(pattern, "nothing follows its last backslash")
            out.append(re.escape(replace_invalid_utf8(pattern[index])))
            index += 1
        else:
            out.append(re.escape(replace_invalid_utf8(character)))
    return re.compile("".join(out))


def _glob_class(pattern: str, index: int, out: list[str]) -> int:
    """Append the class that begins before `index`; the index after its `]`."""
    negated = pattern[index : index + 1] == "^"
    index += negated
    members: list[str] = []
    while pattern[index : index + 1] != "]" or not members:
        low, index = _class_member(pattern, index)
        high = low
        if pattern[index : index + 1] == "-":
            high, index = _class_member(pattern, index + 1)
        # A range that runs backwards is valid and holds nothing.
        members.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    inside = "".join(members)
    if inside:
        out.append(f"[{'^' if negated else ''}{inside}]")
    else:
        out.append("(?s:.)" if negated else "(?!)")
    return index + 1


def _class_member(pattern: str, index: int) -> tuple[str, int]:
    if pattern[index : index + 1] in ("-", "]"):
        raise PatternError(pattern, f"{pattern[index]!r} in a [class] needs a backslash, a class a member")
    if pattern[index : index + 1] == "\\":
        index += 1
    if index + 1 >= len(pattern):
        raise PatternError(pattern, "a [ has no ]")
    if _UNDECODABLE.match(pattern[index]):
        raise PatternError(pattern, "a [class] holds a byte that is not UTF-8")
    return pattern[index], index + 1
