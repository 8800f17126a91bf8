"""A logical line to an Instruction, refused where BuildKit's frontend/dockerfile/instructions refuses it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from stagelens.dockerfile.errors import DockerfileError
from stagelens.dockerfile.lines import LogicalLine
from stagelens.dockerfile.model import Flag, Instruction
from stagelens.dockerfile.words import (
    HEREDOC,
    json_words,
    split_blanks,
    split_flags,
    split_keyword,
    split_words,
)

_BOOLEAN = frozenset({"link", "keep-git-dir", "parents", "unpack"})
_REPEATED = frozenset({"exclude", "mount", "device"})
_FLAGS: dict[str, frozenset[str]] = {
    "ADD": frozenset({"chown", "chmod", "link", "keep-git-dir", "checksum", "exclude", "unpack"}),
    "COPY": frozenset({"chown", "chmod", "link", "from", "parents", "exclude"}),
    "FROM": frozenset({"platform"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "start-interval", "retries"}),
    "RUN": frozenset({"mount", "network", "security", "device"}),
}
# These take their flags as they come, ONBUILD's belong to its trigger.
_UNCHECKED = frozenset({"ARG", "STOPSIGNAL"})


def read(line: LogicalLine, index: int, path: str, escape: str) -> Instruction:
    """The instruction of a line; `index` is its place in the stage.

    Raises
    ------
    DockerfileError: its keyword, a flag or its arguments are not what the engine takes.
    """
    keyword, rest = split_keyword(line.text)
    flags, arguments = split_flags(rest, escape)
    keyword = keyword.upper()
    check = _CHECKS.get(keyword)
    if check is None:
        close = difflib.get_close_matches(keyword, _CHECKS, 1)
        remedy = f"did you mean {close[0]}?" if close else "check its spelling"
        raise DockerfileError(path, line.start_line, f"unknown instruction: {keyword[:60]}", remedy)
    try:
        words = json_words(arguments) if keyword in _JSON else None
        check(keyword, arguments, words, escape)
        read_flags = tuple(_flag(keyword, flag) for flag in flags)
        _check_repeats(keyword, read_flags)
    except _Mistake as mistake:
        raise DockerfileError(path, line.start_line, mistake.reason, mistake.remedy) from None
    except ValueError as error:
        raise DockerfileError(path, line.start_line, str(error)) from None
    place = (line.start_line, line.end_line, line.source)
    return Instruction(index, keyword, arguments, read_flags, words, line.heredocs, *place)


class _Mistake(Exception):
    def __init__(self, reason: str, remedy: str | None = None) -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(reason)


def _flag(keyword: str, text: str) -> Flag:
    name, has_value, value = text.removeprefix("--").partition("=")
    if keyword in _UNCHECKED:
        return Flag(name, value if has_value else None)
    if name not in _FLAGS.get(keyword, ()):
        raise _Mistake(f"unknown flag: --{name[:60]} for {keyword}", "check its spelling")
    if name in _BOOLEAN and (value.lower() not in ("", "true", "false") or (has_value and not value)):
        raise _Mistake(f"expecting a boolean value for --{name}, not {value[:60]!r}", f"write --{name}")
    if name not in _BOOLEAN and not has_value:
        raise _Mistake(f"missing a value on flag: --{name}", f"write --{name}=value")
    return Flag(name, value if has_value else None)


def _check_repeats(keyword: str, flags: Sequence[Flag]) -> None:
    names = [flag.name for flag in flags if flag.name not in _REPEATED]
    for name in names:
        if names.count(name) > 1 and keyword not in _UNCHECKED:
            raise _Mistake(f"duplicate flag specified: --{name}")


_Words = tuple[str, ...] | None
_Check = Callable[[str, str, _Words, str], None]


def _anything(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    pass


def _one(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    if not arguments:
        raise _Mistake(f"{keyword} requires exactly one argument")


def _some(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    if not arguments or words == ():
        raise _Mistake(f"{keyword} requires at least one argument")


def _copied(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    places = split_blanks(arguments) if words is None else words
    if len(places) < 2:
        raise _Mistake(f"{keyword} requires at least two arguments", f"{keyword} source destination")
    if (match := HEREDOC.fullmatch(places[-1])) and match[3]:
        raise _Mistake(f"{keyword} cannot accept a heredoc as a destination", f"{keyword} <<END destination")


def _volumes(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    _some(keyword, arguments, words, escape)
    if words is not None and not all(word.strip() for word in words):
        raise _Mistake("VOLUME specified can not be an empty string")


def _shell(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    _some(keyword, arguments, words, escape)
    if words is None:
        raise _Mistake("SHELL requires the arguments to be in JSON form", 'SHELL ["/bin/sh", "-c"]')


def _pairs(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    _some(keyword, arguments, words, escape)
    if any(name.startswith("=") for name in _pair_words(keyword, arguments, escape)):
        raise _Mistake(f"{keyword} names can not be blank", f"{keyword} name=value")


def _pair_words(keyword: str, arguments: str, escape: str) -> list[str]:
    """The `name=value` words; none in the old form, a name and all the rest as its value."""
    found = split_words(arguments, escape)
    if found and "=" not in found[0]:
        if len(split_blanks(arguments)) < 2:
            raise _Mistake(f"{keyword} must have two arguments", f"{keyword} name=value")
        return []
    for word in found:
        if "=" not in word:
            raise _Mistake(f"can't find = in {word[:60]!r}", f"write {keyword} name=value")
    return found


def _names(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    _some(keyword, arguments, words, escape)
    if any(word.startswith("=") for word in split_words(arguments, escape)):
        raise _Mistake("ARG names can not be blank", "ARG name=default")


def _health(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    _some(keyword, arguments, words, escape)
    kind, rest = split_keyword(arguments)
    if kind.upper() == "NONE" and rest:
        raise _Mistake("HEALTHCHECK NONE takes no arguments")
    if kind.upper() == "CMD" and (not rest or json_words(rest) == ()):
        raise _Mistake("missing command after HEALTHCHECK CMD")
    if kind.upper() not in ("NONE", "CMD"):
        raise _Mistake(f"unknown type {kind[:60]!r} in HEALTHCHECK", "HEALTHCHECK CMD command")


def _trigger(keyword: str, arguments: str, words: _Words, escape: str) -> None:
    """Only what cannot be read at all is refused: the rest is looked at where the trigger fires."""
    _some(keyword, arguments, words, escape)
    inner, rest = split_keyword(arguments)
    inner, rest = inner.upper(), split_flags(rest, escape)[1]
    if inner in ("ONBUILD", "FROM", "MAINTAINER"):
        raise _Mistake(f"{inner} isn't allowed as an ONBUILD trigger")
    if inner in _JSON:
        json_words(rest)
    if inner in ("ENV", "LABEL"):
        _pair_words(inner, rest, escape)


_CHECKS: dict[str, _Check] = {
    "ADD": _copied,
    "ARG": _names,
    "CMD": _anything,
    "COPY": _copied,
    "ENTRYPOINT": _anything,
    "ENV": _pairs,
    "EXPOSE": _some,
    "FROM": _anything,
    "HEALTHCHECK": _health,
    "LABEL": _pairs,
    "MAINTAINER": _one,
    "ONBUILD": _trigger,
    "RUN": _anything,
    "SHELL": _shell,
    "STOPSIGNAL": _one,
    "USER": _one,
    "VOLUME": _volumes,
    "WORKDIR": _one,
}
_JSON = frozenset({"ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME"})
