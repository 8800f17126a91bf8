"""Log bytes to harmless lines: a build's output is a stranger's text."""

from __future__ import annotations

import re

MAX_LINE = 4096
MAX_LINES = 20_000

# ECMA-48: CSI sequences, OSC and other string sequences up to their end, two-character escapes.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]",
    re.DOTALL,
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """One line without terminal escapes, control characters and bidi overrides, cut at `MAX_LINE`.

    A carriage return rewrites the line in a terminal: what was written last is kept.
    """
    text = _ESCAPES.sub("", text).rstrip("\r")
    text = _CONTROLS.sub("\ufffd", text.rsplit("\r", 1)[-1])
    return text if len(text) <= MAX_LINE else text[:MAX_LINE] + " […]"
