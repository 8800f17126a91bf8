"""Why each step ran or came from the cache, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stagelens import text
from stagelens.cache import StepReport
from stagelens.views import i18n, templating
from stagelens.views.templating import TEMPLATES


class WhyView:
    """The reports of `stagelens.explain` or `stagelens.cache.forecast`, with a row for each step."""

    def __init__(self, steps: Iterable[StepReport], *, language: str | None = None) -> None:
        """`language`: "en" or "ko"; the chosen one unless given."""
        self._steps = tuple(steps)
        self._language = i18n.known(language or i18n.language())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def _repr_html_(self) -> str:
        rows = [row(step, self._language) for step in self._steps]
        return templating.render(TEMPLATES / "why_view.html", language=self._language, rows=rows)

    def __str__(self) -> str:
        return "\n".join(line(step, self._language) for step in self._steps)


def row(step: StepReport, language: str) -> dict[str, Any]:
    """Return what the template's `reasons` prints of a step."""
    return {"step": step, "state": step.outcome, "word": state(step, language)}


def line(step: StepReport, language: str) -> str:
    """Return the step in plain text: its state and instruction, and below them why."""
    at = i18n.gettext("line {line}", language, line=step.line)
    told = text.inline(i18n.told(step.reason, language))
    return f"{state(step, language):>8}  {at:<8} {text.inline(step.title)}\n{'':>10}{told}"


def state(step: StepReport, language: str) -> str:
    """Return the word for what a step did or will do; CACHED is docker's word."""

    def say(word: str) -> str:
        return i18n.gettext(word, language)

    words = {
        "cached": "CACHED",
        "ran": say("ran"),
        "runs": say("runs"),
        "depends": say("depends"),
        "not reached": say("not reached"),
        "not known": say("not known"),
    }
    return words[step.outcome]
