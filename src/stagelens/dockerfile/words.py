"""Words of an instruction: its keyword, its flags, its JSON form, and what stands between blanks.

The rules are those of BuildKit's frontend/dockerfile/parser.
"""

from __future__ import annotations

import csv
import json
import re
from typing import cast

from stagelens.dockerfile.expand import expand

# What Go's unicode.IsSpace takes for white space.
SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
_BLANKS = re.compile(r"[\t\v\f\r ]+")
HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)")  # file descriptor, `-`, and the word that ends it
_HEREDOC_BLANKS = re.compile(r"<<[\t\r ]+")


def split_keyword(text: str) -> tuple[str, str]:
    """The first word as it is written, and the rest."""
    keyword, *rest = _BLANKS.split(text.strip(SPACE), maxsplit=1)
    return keyword, rest[0] if rest else ""


def split_blanks(text: str) -> list[str]:
    """Words between blanks, quotes not looked at: how FROM, EXPOSE and the lists of COPY are read."""
    return [word for word in _BLANKS.split(text.strip(SPACE)) if word]


def split_flags(text: str, escape: str = "\\") -> tuple[list[str], str]:
    """The `--flags` that the text begins with, without their quotes, and the rest; `--` ends them."""
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
    """The words of the JSON form, None for the shell form.

    Raises
    ------
    ValueError: it is a JSON list that holds something else than strings.
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
    raise ValueError(f"{constant} is no JSON")


def mount_options(value: str) -> dict[str, str]:
    """The options of a `--mount` by their lower-case names, the last of each; "" where one has no value."""
    try:
        fields = [field.partition("=") for field in next(csv.reader([value]), ())]
    except csv.Error:
        return {}
    return {name.lower(): text for name, _, text in fields}


def is_heredoc(text: str) -> bool:
    """Whether a text is the mark of a here-document and nothing else, such as `<<-"EOF"`."""
    match = HEREDOC.fullmatch(text)
    return match is not None and len(split_words(match[3])) == 1


def shell_words(text: str) -> list[str]:
    """Words as a shell sees them, `<<` together with what follows it; none where the text is no whole one."""
    try:
        expand(text, {}, keep=True)
    except ValueError:
        return []
    return split_words(_HEREDOC_BLANKS.sub("<<", text))


def named_values(arguments: str, escape: str = "\\") -> list[tuple[str, str]]:
    """The names and values of an ENV, in either of its two forms; quotes stay in the values."""
    words = split_words(arguments, escape)
    if words and "=" not in words[0]:
        name, _, value = arguments.partition(" ")
        return [(name, value.strip())]
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]


def declared(arguments: str, escape: str = "\\") -> list[tuple[str, str | None]]:
    """The names that an ARG declares, each with its default; quotes stay in the defaults."""
    parts = (word.partition("=") for word in split_words(arguments, escape))
    return [(name, default if equals else None) for name, equals, default in parts]


def split_words(text: str, escape: str = "\\") -> list[str]:
    """Split at white space outside quotes; quotes and escapes stay in the words."""
    words: list[str] = []
    word = ""
    quote = ""
    index = 0
    while index < len(text):
        character = text[index]
        if character == escape and quote != "'":
            # At the very end there is nothing to escape, and it is dropped.
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
