"""Words of strangers, made fit for a report."""

from __future__ import annotations

import re

from stagelens.builds.logs import clean

_TAG = re.compile(r"<style.*?</style>|<[^<>]*>", re.DOTALL)


def harmless(value: str) -> str:
    """A stranger's text as a few lines without terminal escapes."""
    return "\n".join(clean(line) for line in value.splitlines()[:12])[:1500]


def excerpt(body: str, wanted: str, around: int = 60) -> str:
    """A page's words near the last place of `wanted`, else at its end, where a page says most."""
    words = harmless(" ".join(_TAG.sub(" ", body).split())) or "a page without words"
    place = words.rfind(wanted)
    begin = max(0, place - around if place >= 0 else len(words) - 2 * around)
    return ("… " if begin else "") + words[begin : begin + 2 * around + len(wanted)]
