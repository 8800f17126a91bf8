"""Go's regular expressions (RE2's syntax), as far as file patterns can contain them, for Python's `re`.

moby/patternmatcher turns a pattern into a Go expression and hands over [classes] and backslashes as they
stand. So `\\d` in a .dockerignore is a digit, `[[:alpha:]]` a letter, and a `*` within brackets is not a
star. To agree in such cases, the expression is read here by Go's rules (regexp/syntax, Perl flags).
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import sys
import unicodedata
from collections.abc import Iterator

_PERL = {"d": "0-9", "s": r"\t\n\f\r ", "w": "0-9A-Za-z_"}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ASSERTIONS = {"A": r"(?:\A)", "b": r"(?a:\b)", "B": r"(?a:\B)", "z": r"(?:\Z)"}


class GoSyntaxError(ValueError):
    """Go's compiler refuses the expression; the text says why."""


STAR = "[^/]*"
ANY_FOLDERS = "(?:.*/)?"
_BEGIN = r"(?:\A)"
_MAX_REPEAT = 1000
# What "?" and "*" come to, and a "?" with a count.
_SOME = re.compile(r"\[\^/\]\*?|\(\?:\[\^/\]\)\{(\d+)(,?)(\d*)\}")


def translate(expression: str) -> str:
    """An expression for Python's `re.match` (on str, no flags) that finds what Go's MatchString finds.

    Raises
    ------
    GoSyntaxError: Go refuses it too.
    """
    alternatives = [_tame(_together(pieces)) for pieces in _Reader(expression).alternatives()]
    # A "|" reaches the anchors: "^a|b$" is an a in front or a b at the end.
    anchored = ["".join(one) if one[:1] == [_BEGIN] else "(?s:.*?)" + "".join(one) for one in alternatives]
    return "(?:" + "|".join(anchored) + ")"


def _together(pieces: list[str]) -> list[str]:
    """Neighbours that each take some characters of a name are one: `?{1,9}?{1,9}` is `?{2,18}`.

    Python would try every way to divide the characters among them.
    """
    out: list[str] = []
    for some, group in itertools.groupby(pieces, lambda piece: _SOME.fullmatch(piece) is not None):
        run = list(group)
        if not some or len(run) == 1:
            out += run
            continue
        least, most = map(sum, zip(*map(_counted, run), strict=True))
        if most == math.inf:
            out += ["[^/]"] * int(least) + [STAR]
        else:
            out.append(f"(?:[^/]){{{least},{most}}}")
    return out


def _counted(piece: str) -> tuple[float, float]:
    """The least and the most characters that a piece of `_SOME` takes."""
    found = _SOME.fullmatch(piece)
    if found is None or found[1] is None:
        return (0, math.inf) if piece == STAR else (1, 1)
    least = int(found[1])
    return least, least if not found[2] else int(found[3]) if found[3] else math.inf


def _tame(pieces: list[str]) -> list[str]:
    """Keep Python's backtracking short where that changes nothing.

    Of `*abc*`, only the first `abc` in a name needs to be tried, since the second star takes whatever a
    later one would have left; the same holds for `**/abc/**`, and `**/**` is `**`. Go needs no such help:
    its expressions take linear time.
    """
    out: list[str] = []
    index = 0
    while index < len(pieces):
        piece = pieces[index]
        end = index + 1
        if piece in (STAR, ANY_FOLDERS):
            while end < len(pieces) and _is_fixed(pieces[end], literal=piece == ANY_FOLDERS):
                end += 1
        fixed = "".join(pieces[index + 1 : end])
        twice = piece in (STAR, ANY_FOLDERS) and pieces[end : end + 1] == [piece]
        if twice and piece == STAR:
            out.append(f"(?>[^/]*?{fixed})")
        elif twice and fixed.endswith("/"):
            out.append(f"(?>(?:.*?/)??{fixed})")
        elif not twice or fixed:
            out += pieces[index:end]
        index = end
    return out


def _is_fixed(piece: str, literal: bool) -> bool:
    """Always one character: a literal one, or where that will do one of a [class] without '/'."""
    if piece.startswith("["):
        return not literal and not piece.endswith("]*") and not re.match(piece, "/")
    return piece[0] not in "(." and piece not in (r"\Z", re.escape("\n"))


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def _rest(self, prefix: str) -> bool:
        return self._text.startswith(prefix, self._at)

    def _take(self) -> str:
        if self._at >= len(self._text):
            raise GoSyntaxError("it ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def alternatives(self) -> list[list[str]]:
        """The expression cut at each "|", each part as pieces that a repetition would apply to."""
        out: list[list[str]] = [[]]
        repeated = False
        while self._at < len(self._text):
            counts = self._counts()
            if counts:
                if repeated or not out[-1]:
                    raise GoSyntaxError(f"there is nothing that {counts} could repeat")
                out[-1][-1] = f"(?:{out[-1][-1]}){counts}"
                repeated = True
            elif self._rest("|"):
                self._at += 1
                out.append([])
                repeated = False
            else:
                out[-1] += self._pieces()
                last = out[-1][-1] if out[-1] else "x"
                repeated = last[0] in "[(." and last[-1] in "*?"
        return out

    def _counts(self) -> str:
        """A `{n}`, `{n,}` or `{n,m}` that begins here, "" where a brace is only a brace."""
        found = re.compile(r"\{(0|[1-9]\d*)(,(0|[1-9]\d*)?)?\}", re.ASCII).match(self._text, self._at)
        if found is None:
            return ""
        least, most = int(found[1]), int(found[3] or found[1])
        if max(least, most) > _MAX_REPEAT or most < least:
            raise GoSyntaxError(f"{found[0]} is no number of repetitions")
        self._at = found.end()
        return found[0]

    def _pieces(self) -> Iterator[str]:
        if self._rest("(.*/)?"):  # the only group there can be: our own, for "**"
            self._at += 6
            yield ANY_FOLDERS
            return
        character = self._take()
        if character == "[":
            piece = self._class()
            star = self._rest("*")
            self._at += star
            yield piece + "*" * star
        elif character == "\\":
            yield from self._escaped()
        elif character == ".":
            self._at += 1
            yield ".*"  # the only bare dot: our own, for a "**" at the end
        elif character in "^$":
            yield _BEGIN if character == "^" else r"\Z"
        else:
            yield re.escape(character)

    def _escaped(self) -> Iterator[str]:
        following = self._text[self._at : self._at + 1]
        if following and following in _ASSERTIONS:
            self._at += 1
            yield _ASSERTIONS[following]
        elif following == "Q":
            literal, _, _ = self._text[self._at + 1 :].partition("\\E")
            self._at = min(len(self._text), self._at + len(literal) + 3)
            yield from map(re.escape, literal)
        elif group := self._group():
            yield f"[{group}]"
        else:
            yield re.escape(self._character_code())

    def _group(self) -> str:
        """Members of `\\d` and its kin or of `\\pL`, "" where neither follows the backslash."""
        name = self._text[self._at : self._at + 1]
        if name and name in "dswDSW":
            self._at += 1
            members = _PERL[name.lower()]
            return members if name.islower() else _complement(members)
        if name and name in "pP":
            self._at += 1
            category = self._take()
            negated = (name == "P") != (category == "^")
            if category == "^" or category not in "CLMNPSZ":
                raise GoSyntaxError(f"there is no \\{name}{category}")
            return _category(category, negated)
        return ""

    def _character_code(self) -> str:
        character = self._take()
        if character in _CONTROL:
            return _CONTROL[character]
        if character == "x":
            digits = self._text[self._at : self._at + 2]
            if re.fullmatch("[0-9A-Fa-f]{2}", digits):
                self._at += 2
                return chr(int(digits, 16))
        elif octal := re.match("0[0-7]{0,2}|[1-7][0-7]{1,2}", self._text[self._at - 1 :]):
            self._at += octal.end() - 1
            return chr(int(octal[0], 8))
        elif character.isascii() and not character.isalnum():
            return character
        raise GoSyntaxError(f"a backslash before {character!r} means nothing")

    def _class(self) -> str:
        if self._rest("^/]"):  # our own, for "?" and "*"
            self._at += 3
            return "[^/]"
        negated = self._rest("^")
        self._at += negated
        members: list[str] = []
        while not self._rest("]") or not members:
            members.append(self._member())
        self._at += 1
        return f"[{'^' if negated else ''}{''.join(members)}]"

    def _member(self) -> str:
        if named := re.compile(r"\[:(.*?):\]", re.DOTALL).match(self._text, self._at):
            self._at = named.end()
            members = _POSIX.get(named[1].removeprefix("^"))
            if members is None:
                raise GoSyntaxError(f"there is no class {named[0]}")
            return _complement(members) if named[1].startswith("^") else members
        if self._rest("\\"):
            self._at += 1
            if group := self._group():
                return group
            self._at -= 1
        low = high = self._class_character()
        if self._rest("-") and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
            self._at += 1
            high = self._class_character()
            if high < low:
                raise GoSyntaxError(f"the range {low}-{high} runs backwards")
        return f"{re.escape(low)}-{re.escape(high)}"

    def _class_character(self) -> str:
        character = self._take()
        return self._character_code() if character == "\\" else character


@functools.cache
def _complement(members: str) -> str:
    inside = re.compile(f"[{members}]")
    return _ranges(code for code in range(sys.maxunicode + 1) if not inside.match(chr(code)))


@functools.cache
def _category(letter: str, negated: bool) -> str:
    # Go's C is without the unassigned characters (Cn).
    names = {code: unicodedata.category(chr(code)) for code in range(sys.maxunicode + 1)}
    return _ranges(
        code for code, name in names.items() if (name[0] == letter and name != "Cn") is not negated
    )


def _ranges(codes: Iterator[int]) -> str:
    out: list[tuple[int, int]] = []
    for code in codes:
        if out and out[-1][1] == code - 1:
            out[-1] = (out[-1][0], code)
        else:
            out.append((code, code))
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in out)
