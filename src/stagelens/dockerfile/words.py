"""Words of an instruction: splitting, quoting, and ${variables}, as BuildKit's shell lexer has them."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def split_words(text: str, escape: str = "\\") -> list[str]:
    """Split at white space outside quotes; quotes and escapes stay in the words."""
    words: list[str] = []
    word = ""
    quote = ""
    index = 0
    while index < len(text):
        character = text[index]
        if character == escape and index + 1 < len(text) and quote != "'":
            word += text[index : index + 2]
            index += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character.isspace():
            if word:
                words.append(word)
            word = ""
            index += 1
            continue
        word += character
        index += 1
    return [*words, word] if word else words


def expand(word: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """`word` without its quotes and with $name, ${name}, ${name:-other} and ${name:+other} replaced.

    An unknown variable is empty. Raises ValueError for a brace that does not end or an operator that is
    not known.
    """
    out: list[str] = []
    quote = ""
    index = 0
    while index < len(word):
        character = word[index]
        if character == escape and quote != "'" and index + 1 < len(word):
            following = word[index + 1]
            out.append(following if not quote or following in f'"${escape}' else escape + following)
            index += 2
        elif character == quote:
            quote = ""
            index += 1
        elif not quote and character in "\"'":
            quote = character
            index += 1
        elif character == "$" and quote != "'":
            value, index = _variable(word, index + 1, variables, escape)
            out.append(value)
        else:
            out.append(character)
            index += 1
    return "".join(out)


def _variable(word: str, index: int, variables: Mapping[str, str], escape: str) -> tuple[str, int]:
    if word[index : index + 1] != "{":
        match = _NAME.match(word, index)
        return (variables.get(match[0], ""), match.end()) if match else ("$", index)
    match = _NAME.match(word, index + 1)
    if match is None:
        raise ValueError(f"bad substitution in {word!r}")
    end = _closing_brace(word, match.end())
    inside = word[match.end() : end]
    value = variables.get(match[0])
    if not inside:
        return value or "", end + 1
    operator, rest = (inside[:2], inside[2:]) if inside[0] == ":" else (inside[0], inside[1:])
    present = bool(value) if operator.startswith(":") else value is not None
    match operator[-1]:
        case "-":
            chosen = (value or "") if present else expand(rest, variables, escape)
        case "+":
            chosen = expand(rest, variables, escape) if present else ""
        case "?":
            if not present:
                raise ValueError(f"{match[0]}: {rest or 'is not set'}")
            chosen = value or ""
        case _:
            raise ValueError(f"unsupported modifier {operator} in {word!r}")
    return chosen, end + 1


def _closing_brace(word: str, index: int) -> int:
    depth = 1
    for position in range(index, len(word)):
        depth += (word[position] == "{") - (word[position] == "}")
        if depth == 0:
            return position
    raise ValueError(f"a brace does not end in {word!r}")
