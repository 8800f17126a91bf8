"""Strangers' text made visible: what comes from images, Dockerfiles and logs is never acted on.

`name` is for file names and can be undone, so that the very string that is shown also tells which file is
meant; it is what `ls -b` does. `prose` is for everything else.
"""

from __future__ import annotations

import re
import unicodedata

_ESCAPE = re.compile(r"\\\\|\\x([0-9a-f]{2})|\\u\{([0-9a-f]{1,6})\}")
_PLAIN = re.compile(r"[ -\[\]-~]*")


def name(path: str) -> str:
    """A path with control, format and direction characters and backslashes as escapes."""
    if _PLAIN.fullmatch(path):
        return path
    return "".join("\\\\" if c == "\\" else _visible(c) for c in path)


def path_of(shown: str) -> str:
    """The path that `name` was given.

    Raises
    ------
    ValueError: no path is shown like that.
    """
    if "\\" in _ESCAPE.sub("", shown):
        raise ValueError(f"no path is shown as {shown!a}")
    return _ESCAPE.sub(_character, shown)


def prose(text: str, limit: int = 4096, keep: str = "") -> str:
    """`text` with control, format and direction characters as escapes but those in `keep`, cut at `limit`."""
    shown = "".join(c if c in keep else _visible(c) for c in text[:limit])
    return shown + ("…" if len(text) > limit else "")


def _visible(character: str) -> str:
    if unicodedata.category(character)[0] != "C" and character not in "\u2028\u2029":
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{{{code:x}}}"


def _character(match: re.Match[str]) -> str:
    if match[1]:
        return chr(0xDC00 + int(match[1], 16))
    if match[2]:
        code = int(match[2], 16)
        if code > 0x10FFFF:
            raise ValueError(f"no character has the number {match[2]}")
        return chr(code)
    return "\\"
