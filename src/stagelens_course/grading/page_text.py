"""Excerpts of untrusted pages for a report."""

from __future__ import annotations

import re

from stagelens.text import inline

_TAG = re.compile(r"<style.*?</style>|<[^<>]*>", re.DOTALL)


def excerpt(body: str, wanted: str, around: int = 60) -> str:
    """Return a page's text around the last occurrence of `wanted`, else its end, which says most."""
    words = inline(" ".join(_TAG.sub(" ", body).split()), 1500) or "a page without words"
    index = words.rfind(wanted)
    begin = max(0, index - around if index >= 0 else len(words) - 2 * around)
    return ("… " if begin else "") + words[begin : begin + 2 * around + len(wanted)]
