"""Log lines without terminal control: a build's output is untrusted.

Of everything a terminal would interpret only colors remain, as data beside the text: names for spans of the
line, never the sequences themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stagelens.text import block

MAX_LINE = 4096
MAX_LINES = 20_000

# ECMA-48: CSI sequences, OSC and other string sequences up to their end, two-character escapes.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]",
    re.DOTALL,
)

# The SGR parameters (ECMA-48 8.3.117) that are shown; a bright color counts as the plain one.
_COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_MADE = {1: "bold", 2: "dim", 3: "italic", 4: "underline"}
_ENDED = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 39: _COLORS}
_SGR = re.compile(r"(?:\x1b\[|\x9b)([0-9;]*)m")

# Start and end in the line (the end is exclusive), and the style: "bold red".
Span = tuple[int, int, str]


def styled(text: str) -> tuple[str, tuple[Span, ...]]:
    """Return `plain_line(text)` and its colored parts, in order."""
    shown, spans = "", list[Span]()
    style: tuple[str, ...] = ()
    position = 0
    for escape in _ESCAPES.finditer(text):
        shown += text[position : escape.start()]
        position = escape.end()
        if found := _SGR.fullmatch(escape[0]):
            _extend(spans, len(shown), style)
            style = _changed(style, found[1])
            spans.append((len(shown), len(shown), ""))
    shown += text[position:]
    _extend(spans, len(shown), style)
    return plain_line(text), tuple(_visible(spans, shown))


def _extend(spans: list[Span], end: int, style: tuple[str, ...]) -> None:
    """Set the end and the style of the open span."""
    if spans:
        spans[-1] = (spans[-1][0], end, " ".join(style))


def _changed(style: tuple[str, ...], parameters: str) -> tuple[str, ...]:
    """Return a style after an SGR sequence; colors of the 256-color palette are ignored."""
    codes = [int(code or 0) for code in parameters[:64].split(";") if len(code) < 4]
    if 38 in codes or 48 in codes:
        codes = codes[: min(codes.index(code) for code in (38, 48) if code in codes)]
    for code in codes:
        made = _MADE.get(code)
        if code == 0:
            style = ()
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = (*(word for word in style if word not in _COLORS), _COLORS[code % 10])
        elif made:
            style = (*(word for word in style if word != made), made)
        elif code in _ENDED:
            style = tuple(word for word in style if word not in _ENDED[code])
    return style


def _visible(spans: list[Span], shown: str) -> Iterator[Span]:
    """Yield the spans in the cleaned line, which begins after the last carriage return."""
    body = shown.rstrip("\r")
    begin = body.rfind("\r") + 1
    line = body[begin : begin + MAX_LINE]
    for start, end, style in spans:
        low, high = max(start - begin, 0), min(end - begin, len(line))
        if style and low < high:
            # An escaped character is longer than the character itself.
            yield len(block(line[:low])), len(block(line[:high])), style


def plain_line(text: str) -> str:
    """Return a line of a log as a terminal without colors shows it, cut at `MAX_LINE`.

    Terminal sequences are removed. A carriage return rewrites the line in a terminal, so only the text after
    the last one remains. Other control and format characters become visible escapes.
    """
    return block(_ESCAPES.sub("", text).rstrip("\r").rsplit("\r", 1)[-1], MAX_LINE)
