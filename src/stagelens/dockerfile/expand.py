"""Quotes, escapes and ${variables} of a word, replaced as BuildKit's frontend/dockerfile/shell does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_SPECIAL = "@*#?-$!"
_OPERATORS = frozenset({"-", ":-", "+", ":+", "?", ":?", "#", "%"})
_MAX_WORK = 1 << 20  # characters of a value times those of a pattern: bounds what a Dockerfile makes us do
_MAX_LENGTH = 1 << 20  # characters of all variables in a word; Linux takes 128 KiB for one


def expand(
    word: str, variables: Mapping[str, str], escape: str = "\\", *, keep: bool = False, quotes: str = "'\""
) -> str:
    """`word` without its quotes and escapes, and with its variables replaced.

    Knows $name, ${name} and ${name with one of  -  :-  +  :+  ?  :?  #  ##  %  %%  /  // }. An unknown
    variable is empty; with `keep` it stays as it is written. The body of a here-document knows no `quotes`.

    Raises
    ------
    ValueError: a quote or brace does not end, an operator is not known, a variable is required, or what comes
        out is too long.
    """
    lexer = _Lexer(word, variables, escape, keep, quotes)
    try:
        return lexer.until("")
    except RecursionError:
        raise ValueError("variables in variables, too deep") from None


def unquote(word: str) -> str:
    """A word without its quotes and escapes; variables stay as they are."""
    return expand(word, {}, keep=True)


class _Lexer:
    def __init__(self, text: str, variables: Mapping[str, str], escape: str, keep: bool, quotes: str) -> None:
        self._text = text
        self._at = 0
        self._variables = variables
        self._escape = escape
        self._keep = keep
        self._quotes = quotes
        self._length = 0

    def _next(self) -> str:
        """The next character, "" at the end."""
        character = self._peek()
        self._at += 1
        return character

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def until(self, stop: str, *, raw: bool = False) -> str:
        """Up to `stop`, which is taken too ("" is the end); with `raw` escapes stay, for a pattern."""
        out: list[str] = []
        while character := self._next():
            if character == stop:
                return "".join(out)
            if character in self._quotes:
                out.append(self._quoted(character, raw))
            elif character == "$":
                out.append(self._dollar())
            elif character == self._escape:
                out.append((character if raw else "") + self._next())
            else:
                out.append(character)
        if stop:
            raise ValueError(f"a {stop} is missing")
        return "".join(out)

    def _quoted(self, quote: str, raw: bool) -> str:
        out: list[str] = []
        while character := self._next():
            if character == quote:
                return "".join(out)
            if quote == '"' and character == "$":
                out.append(self._dollar())
            elif quote == '"' and character == self._escape and self._peek() in ('"', "$", self._escape):
                out.append((character if raw else "") + self._next())
            else:
                out.append(character * 2 if raw and character == self._escape else character)
        raise ValueError(f"a {quote} does not end")

    def _dollar(self) -> str:
        begin = self._at - 1
        if self._peek() != "{":
            name = self._name()
            value = self._variables.get(name)
            return ("$" + name if self._keep or not name else "") if value is None else self._taken(value)
        self._at += 1
        if self._peek() in ("", "{", "}", ":"):
            raise ValueError("bad substitution")
        name = self._name()
        operator = self._next()
        if operator == ":":
            operator += self._next()
        value = self._variables.get(name)
        result = self._taken(self._operation(name, operator, value))
        return self._text[begin : self._at] if self._keep and value is None else result

    def _taken(self, value: str) -> str:
        """A value, counted: where each variable holds the one before twice, forty lines fill any memory."""
        self._length += len(value)
        if self._length > _MAX_LENGTH:
            raise ValueError(f"its variables grow to more than {_MAX_LENGTH} characters")
        return value

    def _operation(self, name: str, operator: str, value: str | None) -> str:
        if operator == "}":
            return value or ""
        if operator == "/":
            return self._substituted(value or "")
        if operator not in _OPERATORS:
            raise ValueError(f"unsupported modifier ({operator}) in substitution")
        word = self.until("}", raw=operator in "#%")
        given = bool(value) if operator[0] == ":" else value is not None
        if operator in ("#", "%"):
            return _trimmed(value or "", word, operator)
        if operator[-1] == "-":
            return value or "" if given else word
        if operator[-1] == "+":
            return word if given else ""
        if not given and not self._keep:
            raise ValueError(f"{name}: {word or 'it must be set'}")
        return value or ""

    def _substituted(self, value: str) -> str:
        every = self._peek() == "/"
        self._at += every
        pattern = _tokens(self.until("/", raw=True))
        replacement = self.until("}", raw=True)
        _bound(len(value) ** 2, len(pattern))
        _bound(len(value) + 1, len(replacement))
        out: list[str] = []
        begin = 0
        while begin <= len(value):
            ends = _ends(value[begin:], pattern)
            end = begin + max(ends, default=-1)
            if end > begin or (ends and not every):
                out.append(replacement)
                begin = end
                if not every:
                    break
            else:
                out.append(value[begin : begin + 1])
                begin += 1
        return "".join(out) + value[begin:]

    def _name(self) -> str:
        begin = self._at
        if self._peek().isdigit():
            while self._peek().isdigit():
                self._at += 1
        elif self._peek() and self._peek() in _SPECIAL:
            self._at += 1
        else:
            while self._peek().isalnum() or self._peek() == "_":
                self._at += 1
        return self._text[begin : self._at]


def _trimmed(value: str, word: str, operator: str) -> str:
    """`#` takes the shortest start that fits away, `##` the longest; `%` and `%%` the same at the end."""
    longest = word.startswith(operator)
    tokens = _tokens(word[longest:])
    _bound(len(value), len(tokens))
    if operator == "%":
        tokens, value = tokens[::-1], value[::-1]
    ends = _ends(value, tokens)
    rest = value[(max if longest else min)(ends) :] if ends else value
    return rest[::-1] if operator == "%" else rest


def _tokens(pattern: str) -> list[str]:
    """Characters of a pattern: `*` and `?` as they are, others with a `\\` before them."""
    out: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            if following not in ("*", "?", "\\", "}", "/"):
                raise ValueError(f"invalid escape \\{following}")
            out.append("\\" + following)
        else:
            out.append(character if character in "*?" else "\\" + character)
    return out


def _ends(value: str, pattern: Iterable[str]) -> set[int]:
    """How long the starts of `value` are that fit the whole pattern; no line end fits a wildcard."""
    places = {0}
    for token in pattern:
        if token == "*":
            reached: set[int] = set()
            for place in sorted(places):
                while place not in reached:
                    reached.add(place)
                    if value[place : place + 1] in ("", "\n"):
                        break
                    place += 1
            places = reached
        else:
            places = {place + 1 for place in places if _fits(token, value[place : place + 1])}
    return places


def _fits(token: str, character: str) -> bool:
    return character not in ("", "\n") if token == "?" else character == token[1:]


def _bound(value: int, pattern: int) -> None:
    if value * max(pattern, 1) > _MAX_WORK:
        raise ValueError("the value is too long to look for a pattern in it")
