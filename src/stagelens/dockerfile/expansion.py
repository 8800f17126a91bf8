"""Expand quotes, escapes and ${variables} as BuildKit's frontend/dockerfile/shell does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_SPECIAL = "@*#?-$!"
_OPERATORS = frozenset({"-", ":-", "+", ":+", "?", ":?", "#", "%"})
_MAX_WORK = 1 << 20  # characters of a value times those of a pattern: bounds the time that a Dockerfile costs
_MAX_LENGTH = 1 << 20  # characters of all variables in a word; Linux allows 128 KiB for one


def expand(
    word: str,
    variables: Mapping[str, str],
    escape: str = "\\",
    *,
    keep_unknown: bool = False,
    quotes: str = "'\"",
) -> str:
    """Remove the quotes and escapes of a word and replace its variables.

    Supports $name, ${name} and ${name with one of  -  :-  +  :+  ?  :?  #  ##  %  %%  /  // }.

    Parameters
    ----------
    word
        The text to expand.
    variables
        The values by name.
    escape
        The escape character of the Dockerfile.
    keep_unknown
        Whether to leave unknown variables as written instead of replacing them with nothing.
    quotes
        The characters that quote; "" for the body of a here-document.

    Raises
    ------
    ValueError
        If a quote or brace has no end, an operator is unknown, a required variable is missing, or the result
        is too long.
    """
    lexer = _Lexer(word, variables, escape, keep_unknown, quotes)
    try:
        return lexer.until("")
    except RecursionError:
        raise ValueError("variables in variables, too deep") from None


def unquote(word: str) -> str:
    """Remove the quotes and escapes of a word and leave its variables as written."""
    return expand(word, {}, keep_unknown=True)


class _Lexer:
    def __init__(
        self, text: str, variables: Mapping[str, str], escape: str, keep_unknown: bool, quotes: str
    ) -> None:
        self._text = text
        self._position = 0
        self._variables = variables
        self._escape = escape
        self._keep_unknown = keep_unknown
        self._quotes = quotes
        self._length = 0

    def _next(self) -> str:
        """Consume and return the next character, "" at the end."""
        character = self._peek()
        self._position += 1
        return character

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def until(self, stop: str, *, raw: bool = False) -> str:
        """Consume and expand up to `stop` inclusive ("" is the end); `raw` leaves escapes, for a pattern."""
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
            raise ValueError(f"missing {stop}")
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
        raise ValueError(f"unterminated {quote}")

    def _dollar(self) -> str:
        begin = self._position - 1
        if self._peek() != "{":
            name = self._name()
            value = self._variables.get(name)
            if value is None:
                return "$" + name if self._keep_unknown or not name else ""
            return self._counted(value)
        self._position += 1
        if self._peek() in ("", "{", "}", ":"):
            raise ValueError("bad substitution")
        name = self._name()
        operator = self._next()
        if operator == ":":
            operator += self._next()
        value = self._variables.get(name)
        result = self._counted(self._operation(name, operator, value))
        return self._text[begin : self._position] if self._keep_unknown and value is None else result

    def _counted(self, value: str) -> str:
        """Add to the length of all values: variables that double each other would fill any memory."""
        self._length += len(value)
        if self._length > _MAX_LENGTH:
            raise ValueError(f"the variables grow to more than {_MAX_LENGTH} characters")
        return value

    def _operation(self, name: str, operator: str, value: str | None) -> str:
        if operator == "}":
            return value or ""
        if operator == "/":
            return self._substituted(value or "")
        if operator not in _OPERATORS:
            raise ValueError(f"unsupported modifier ({operator}) in substitution")
        word = self.until("}", raw=operator in "#%")
        is_set = bool(value) if operator[0] == ":" else value is not None
        if operator in ("#", "%"):
            return _trimmed(value or "", word, operator)
        if operator[-1] == "-":
            return value or "" if is_set else word
        if operator[-1] == "+":
            return word if is_set else ""
        if not is_set and not self._keep_unknown:
            raise ValueError(f"{name}: {word or 'it must be set'}")
        return value or ""

    def _substituted(self, value: str) -> str:
        every = self._peek() == "/"
        self._position += every
        pattern = _tokens(self.until("/", raw=True))
        replacement = self.until("}", raw=True)
        _check_work(len(value) ** 2, len(pattern))
        _check_work(len(value) + 1, len(replacement))
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
        begin = self._position
        if self._peek().isdigit():
            while self._peek().isdigit():
                self._position += 1
        elif self._peek() and self._peek() in _SPECIAL:
            self._position += 1
        else:
            while self._peek().isalnum() or self._peek() == "_":
                self._position += 1
        return self._text[begin : self._position]


def _trimmed(value: str, word: str, operator: str) -> str:
    """Remove the shortest start that matches (`#`) or the longest (`##`); `%` and `%%` do so at the end."""
    longest = word.startswith(operator)
    tokens = _tokens(word[longest:])
    _check_work(len(value), len(tokens))
    if operator == "%":
        tokens, value = tokens[::-1], value[::-1]
    ends = _ends(value, tokens)
    rest = value[(max if longest else min)(ends) :] if ends else value
    return rest[::-1] if operator == "%" else rest


def _tokens(pattern: str) -> list[str]:
    """Split a pattern into `*`, `?` and other characters, which get a backslash in front."""
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
    """Return the ends of all starts of `value` that match the pattern; wildcards match no line end."""
    ends = {0}
    for token in pattern:
        if token == "*":
            reached: set[int] = set()
            for end in sorted(ends):
                while end not in reached:
                    reached.add(end)
                    if value[end : end + 1] in ("", "\n"):
                        break
                    end += 1
            ends = reached
        else:
            ends = {end + 1 for end in ends if _matches(token, value[end : end + 1])}
    return ends


def _matches(token: str, character: str) -> bool:
    return character not in ("", "\n") if token == "?" else character == token[1:]


def _check_work(value: int, pattern: int) -> None:
    if value * max(pattern, 1) > _MAX_WORK:
        raise ValueError("the value is too long to search for a pattern")
