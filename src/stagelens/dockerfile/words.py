"""Split the text of an instruction: keyword, flags, JSON form and words.

The rules are those of BuildKit's frontend/dockerfile/parser.
"""

from __future__ import annotations

import csv
import json
import re
from typing import cast

from stagelens.dockerfile.expansion import expand

# The characters that Go's unicode.IsSpace accepts.
SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
_BLANKS = re.compile(r"[\t\v\f\r ]+")
HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)")  # file descriptor, `-`, and the word that ends it
_HEREDOC_BLANKS = re.compile(r"<<[\t\r ]+")


def split_keyword(text: str) -> tuple[str, str]:
    """Split the text into its first word and the rest."""
    keyword, *rest = _BLANKS.split(text.strip(SPACE), maxsplit=1)
    return keyword, rest[0] if rest else ""


def split_whitespace(text: str) -> list[str]:
    """Split at white space and ignore quotes, as BuildKit does for FROM, EXPOSE and the paths of COPY."""
    return [word for word in _BLANKS.split(text.strip(SPACE)) if word]


def split_flags(text: str, escape: str = "\\") -> tuple[list[str], str]:
    """Split the text into its leading `--flags`, without quotes, and the rest; `--` ends the flags."""
    flags: list[str] = []
    index = 0
    while True:
        while index < len(text) and text[index] in SPACE:
            index += 1
        if text[index : index + 2] != "--":
            return flags, text[index:].strip(SPACE)
        word, index = _flag(text, index, escape)
        if word == "--":
            return flags, text[index:].strip(SPACE)
        flags.append(word)


def _flag(text: str, index: int, escape: str) -> tuple[str, int]:
    word: list[str] = []
    quote = ""
    while index < len(text) and (quote or text[index] not in SPACE):
        character = text[index]
        index += 1
        if quote and character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote = character
        elif character == escape:
            word.append(text[index : index + 1])
            index += 1
        else:
            word.append(character)
    return "".join(word), index


def json_words(arguments: str) -> tuple[str, ...] | None:
    """Return the words of the JSON form, or None for the shell form.

    Raises
    ------
    ValueError
        If the JSON list holds anything other than strings.
    """
    if not arguments.startswith("["):
        return None
    try:
        value = json.loads(arguments, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    words = cast("list[object]", value)
    if not all(isinstance(word, str) for word in words):
        raise ValueError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(str(word) for word in words)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def mount_options(value: str) -> dict[str, str]:
    """Parse the options of a `--mount` flag.

    Parameters
    ----------
    value
        The value of the flag, such as `type=cache,target=/root/.m2`.

    Returns
    -------
    dict
        The last value of each option by its lower-case name; "" for an option without a value.
    """
    try:
        fields = [field.partition("=") for field in next(csv.reader([value]), ())]
    except csv.Error:
        return {}
    return {name.lower(): text for name, _, text in fields}


def is_heredoc_marker(text: str) -> bool:
    """Return whether the text is just the start of a here-document, such as `<<-"EOF"`."""
    match = HEREDOC.fullmatch(text)
    return match is not None and len(split_words(match[3])) == 1


def shell_words(text: str) -> list[str]:
    """Split into shell words, with `<<` joined to the word after it; none where a quote has no end."""
    try:
        expand(text, {}, keep_unknown=True)
    except ValueError:
        return []
    return split_words(_HEREDOC_BLANKS.sub("<<", text))


def env_pairs(arguments: str, escape: str = "\\") -> list[tuple[str, str]]:
    """Parse the arguments of an ENV, in either of its two forms.

    Parameters
    ----------
    arguments
        The text after the keyword.
    escape
        The escape character of the Dockerfile.

    Returns
    -------
    list
        Pairs of name and value; the values keep their quotes.
    """
    words = split_words(arguments, escape)
    if words and "=" not in words[0]:
        name, _, value = arguments.partition(" ")
        return [(name, value.strip())]
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]


def arg_defaults(arguments: str, escape: str = "\\") -> list[tuple[str, str | None]]:
    """Parse the arguments of an ARG.

    Parameters
    ----------
    arguments
        The text after the keyword.
    escape
        The escape character of the Dockerfile.

    Returns
    -------
    list
        Pairs of name and default, None without a default; the defaults keep their quotes.
    """
    parts = (word.partition("=") for word in split_words(arguments, escape))
    return [(name, default if equals else None) for name, equals, default in parts]


def split_words(text: str, escape: str = "\\") -> list[str]:
    """Split at white space outside quotes; the words keep their quotes and escapes."""
    words: list[str] = []
    word = ""
    quote = ""
    index = 0
    while index < len(text):
        character = text[index]
        if character == escape and quote != "'":
            # BuildKit drops an escape character at the very end.
            word += text[index : index + 2] if index + 1 < len(text) else ""
            index += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in SPACE:
            if word:
                words.append(word)
            word = ""
            index += 1
            continue
        word += character
        index += 1
    return [*words, word] if word else words
