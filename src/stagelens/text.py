r"""Untrusted text made visible: text from images, Dockerfiles and logs never controls a terminal or a page.

Control, format and bidirectional characters become escapes such as `\u{1b}`, and bytes that are not UTF-8
become `\xff`. HTML needs escaping on top of that; `stagelens.views.templating` does both.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

_ESCAPE = re.compile(r"\\\\|\\x([0-9a-f]{2})|\\u\{([0-9a-f]{1,6})\}")
_PRINTABLE = re.compile(r"[ -~]*")


def inline(value: str, limit: int = 4096) -> str:
    """Escape text for one line: line breaks and tabs become escapes, too.

    Parameters
    ----------
    value
        The untrusted text.
    limit
        The number of characters to read; an ellipsis replaces the rest.
    """
    return _escape(value, limit, "")


def block(value: str, limit: int = 4096, *, lines: int | None = None) -> str:
    """Escape text of several lines: newlines and tabs stay.

    Parameters
    ----------
    value
        The untrusted text.
    limit
        The number of characters to read; an ellipsis replaces the rest.
    lines
        The number of lines to return; further lines are dropped.
    """
    kept = value if lines is None else "\n".join(value.splitlines()[:lines])
    return _escape(kept, limit, "\n\t")


def file_name(path: str) -> str:
    """Escape a file name or path as `ls -b` does; `parse_file_name` restores it.

    Backslashes are doubled, so that the displayed name also identifies the file.
    """
    if "\\" not in path:
        return _escape(path, len(path), "")
    return "".join("\\\\" if character == "\\" else _visible(character) for character in path)


def parse_file_name(shown: str) -> str:
    """Restore the path that `file_name` escaped.

    Raises
    ------
    ValueError
        If `file_name` never returns such a text.
    """
    if "\\" in _ESCAPE.sub("", shown):
        raise ValueError(f"not an escaped file name: {shown!a}")
    return _ESCAPE.sub(_character, shown)


def _escape(value: str, limit: int, allowed: Collection[str]) -> str:
    cut = value[:limit]
    if not _PRINTABLE.fullmatch(cut):
        cut = "".join(c if c in allowed else _visible(c) for c in cut)
    return cut + ("…" if len(value) > limit else "")


def _visible(character: str) -> str:
    if unicodedata.category(character)[0] != "C" and character not in "\u2028\u2029":
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, decoded by surrogateescape
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
