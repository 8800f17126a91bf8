r"""The patterns of a .dockerignore file, as moby/patternmatcher reads them.

They differ from gitignore's and the shell's: a pattern is cleaned like a path; `*` and `?` stop at '/', `**`
does not; `!` makes an exception to earlier patterns; a match of a folder covers its contents. Patterns are
tried in order, and the last match wins. patternmatcher turns a pattern into a regular expression of Go and
copies [classes] and backslashes unchanged, so `\d` is a digit and `[[:alpha:]]` a letter. RE2 reads the same
syntax as Go. docs/explanation/buildkit-session.md compares the libraries.

`compile_glob` is for a single name: the grammar of Go's path/filepath.Match. BuildKit checks each pattern
against it first, and uses it for the wildcards in `followpaths`.
"""

from __future__ import annotations

import importlib
import os
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from stagelens.buildkit.errors import PatternError

# The white space of Go's unicode.IsSpace; Python's strip() removes four control characters more.
GO_WHITESPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_NOT_A_PREFIX = frozenset("*[]?^\\")
# The characters that patternmatcher escapes for Go's compiler. It does not escape |, { and }: `a|b*` is two
# alternatives, and `*.{1}` counts.
_ESCAPED = frozenset(".+()$")
# Undecodable bytes of a name, as Python stores them in a str; Go's patterns see U+FFFD for each of them.
_UNDECODABLE = re.compile("[\udc80-\udcff]")
# RE2 has this escape for any byte, Go does not.
_ANY_BYTE = re.compile(r"(?:[^\\]|\\[^C])*\\C", re.DOTALL)
_MAX_RE2_BYTES = 64 * 1024 * 1024


def clean_path(path: str) -> str:
    """Return the shortest equivalent path, as Go's path.Clean does: no `.`, no `//`, no trailing slash."""
    cleaned = posixpath.normpath(path)
    # POSIX allows a special meaning for two leading slashes, and Python preserves them.
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


def encode_path(text: str) -> bytes:
    """Encode a pattern or path as the bytes of a file system."""
    return text.encode("utf-8", "surrogateescape")


def replace_invalid_utf8(text: str) -> str:
    """Replace each undecodable byte by U+FFFD, as Go's matchers do."""
    return _UNDECODABLE.sub("\ufffd", text)


def _valid_utf8(path: bytes) -> bytes:
    try:
        path.decode()
    except UnicodeDecodeError:
        return replace_invalid_utf8(path.decode("utf-8", "surrogateescape")).encode()
    return path


@dataclass(frozen=True, slots=True)
class Pattern:
    """A cleaned pattern; `negated` stands for a `!`, which `text` lacks."""

    text: str
    negated: bool

    @property
    def prefix(self) -> str | None:
        """The path that each match begins with (without a final `/**` or `/*`), None if there is none."""
        prefix = self.text.removesuffix("/**").removesuffix("/*")
        return None if _NOT_A_PREFIX & set(prefix) else prefix


def parse_pattern(raw: str, *, windows: bool = os.name == "nt") -> Pattern | None:
    """Parse one line of patterns.

    Parameters
    ----------
    raw
        The pattern as written.
    windows
        Whether a backslash is a path separator.

    Returns
    -------
    Pattern or None
        None for a blank line.

    Raises
    ------
    PatternError
        If the engine rejects the pattern.
    """
    text = raw.strip(GO_WHITESPACE)
    if not text:
        return None
    text = clean_path(text.replace("\\", "/") if windows else text)
    negated = text.startswith("!")
    if negated:
        text = text[1:]
        if not text:
            raise PatternError(raw, "a lone ! has nothing to except")
    compile_glob(text)
    return Pattern(text, negated)


@dataclass(slots=True)
class _PatternGroup:
    """Adjacent patterns that are all negated or all not: the order within does not matter.

    Like patternmatcher, this distinguishes exact paths, prefixes, suffixes and regular expressions; the first
    three compare bytes.
    """

    negated: bool
    exact: set[bytes] = field(default_factory=set[bytes])
    starts: tuple[bytes, ...] = ()
    ends: tuple[bytes, ...] = ()
    regexps: Any = None

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
        re2 = importlib.import_module("re2")  # lazy: many contexts need none
        options = re2.Options()
        options.log_errors = False
        options.never_capture = True
        options.max_mem = _MAX_RE2_BYTES
        # Go's scanner skips a byte order mark in front.
        expression = _go_expression(replace_invalid_utf8(text).removeprefix("\ufeff"))
        if _ANY_BYTE.match(expression):
            raise PatternError(text, r"invalid escape sequence: \C")
        try:
            re2.compile(expression, options)
        except re2.error as error:
            raise PatternError(text, error.args[0].decode()) from error
        if self.regexps is None:
            self.regexps = re2.Set.SearchSet(options)
        self.regexps.Add(expression)

    def close(self) -> None:
        if self.regexps is not None:
            self.regexps.Compile()

    def matches(self, path: bytes) -> bool:
        if path in self.exact or path.startswith(self.starts) or path.endswith(self.ends):
            return True
        return self.regexps is not None and bool(self.regexps.Match(_valid_utf8(path)))


class Matcher:
    """Patterns in order: `step` is for a tree walk, `matches` for a single path.

    The state that `step` returns has one bit for each group of adjacent patterns of one kind. patternmatcher
    has one for each pattern, with the same result: within a group, one match is as good as another.

    Parameters
    ----------
    patterns
        Patterns as in a .dockerignore file.
    windows
        Whether a backslash is a path separator.

    Raises
    ------
    PatternError
        If the engine rejects a pattern.
    """

    def __init__(self, patterns: Iterable[str], *, windows: bool = os.name == "nt") -> None:
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
        """Match `path` given its folder's state.

        Parameters
        ----------
        path
            A path relative to the context.
        parent
            The state of its folder, 0 for the context itself.

        Returns
        -------
        tuple[bool, int]
            Whether the path matches, and its state.
        """
        matched = False
        state = 0
        for bit, negated, test in self._groups:
            if parent & bit or (negated == matched and test(path)):
                state |= bit
                matched = not negated
        return matched, state

    def matches(self, path: bytes) -> bool:
        """Return whether `path` or one of its folders matches."""
        state, at, matched = 0, -1, False
        while at < len(path):
            at = path.find(b"/", at + 1)
            at = len(path) if at < 0 else at
            matched, state = self.step(path[:at], state)
        return matched

    def may_match_below(self, folder: bytes, *, negated: bool) -> bool:
        """Return whether a walk must enter a folder that is excluded itself (fsutil's filter.go).

        False only if every pattern of that kind begins with a plain path that leads elsewhere.

        Parameters
        ----------
        folder
            The folder's path.
        negated
            Which patterns to consider.
        """
        prefixes = self._below[negated]
        inside = folder + b"/"
        return prefixes is None or any(prefix.startswith(inside) for prefix in prefixes)


def _go_expression(text: str) -> str:
    """Return the expression that patternmatcher passes to Go's compiler."""
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


def has_wildcards(pattern: str) -> bool:
    """Return whether the pattern has an unescaped `*`, `?` or `[`."""
    return any(found[1] for found in re.finditer(r"\\.|([*?\[])", pattern, re.DOTALL))


def compile_glob(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for one name, with the grammar of Go's path/filepath.Match.

    Unlike in a shell, `^` and not `!` negates a [class], a class is never empty, and `-` or `]` in a class
    needs a backslash.

    Parameters
    ----------
    pattern
        The pattern as written.

    Returns
    -------
    re.Pattern[str]
        An expression for `fullmatch` on the result of `replace_invalid_utf8`.

    Raises
    ------
    PatternError
        If the pattern is not in the grammar.
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
                raise PatternError(pattern, "its last backslash escapes nothing")
            out.append(re.escape(replace_invalid_utf8(pattern[index])))
            index += 1
        else:
            out.append(re.escape(replace_invalid_utf8(character)))
    return re.compile("".join(out))


def _glob_class(pattern: str, index: int, out: list[str]) -> int:
    """Append the class that begins before `index`; return the index after its `]`."""
    negated = pattern[index : index + 1] == "^"
    index += negated
    members: list[str] = []
    while pattern[index : index + 1] != "]" or not members:
        low, index = _class_member(pattern, index)
        high = low
        if pattern[index : index + 1] == "-":
            high, index = _class_member(pattern, index + 1)
        # A reversed range is valid and matches nothing.
        members.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    inside = "".join(members)
    if inside:
        out.append(f"[{'^' if negated else ''}{inside}]")
    else:
        out.append("(?s:.)" if negated else "(?!)")
    return index + 1


def _class_member(pattern: str, index: int) -> tuple[str, int]:
    if pattern[index : index + 1] in ("-", "]"):
        raise PatternError(
            pattern, f"{pattern[index]!r} in a [class] needs a backslash, and a class at least one member"
        )
    if pattern[index : index + 1] == "\\":
        index += 1
    if index + 1 >= len(pattern):
        raise PatternError(pattern, "a [ lacks its ]")
    if _UNDECODABLE.match(pattern[index]):
        raise PatternError(pattern, "a [class] contains a byte that is not UTF-8")
    return pattern[index], index + 1
