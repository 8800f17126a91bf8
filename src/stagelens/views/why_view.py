"""A table that explains for each step why it ran or came from the cache."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stagelens import text
from stagelens.cache import StepReport
from stagelens.views import i18n, templating
from stagelens.views.templating import TEMPLATES


class WhyView:
    """A table of step reports: the outcome of each step and the reason.

    Parameters
    ----------
    steps
        The reports of `stagelens.explain` or `stagelens.cache.forecast`.
    language
        The language, "en" or "ko"; by default the chosen one.

    Raises
    ------
    UnknownLanguage
        If there is no catalog for the language.
    """

    def __init__(self, steps: Iterable[StepReport], *, language: str | None = None) -> None:
        self._steps = tuple(steps)
        self._language = i18n.check_language(language or i18n.language())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def _repr_html_(self) -> str:
        rows = [step_row(step, self._language) for step in self._steps]
        return templating.render(TEMPLATES / "why_view.html", language=self._language, rows=rows)

    def __str__(self) -> str:
        return "\n".join(step_text(step, self._language) for step in self._steps)


def step_row(step: StepReport, language: str) -> dict[str, Any]:
    """Return the variables of a step for the template macro `reasons`.

    Parameters
    ----------
    step
        The step's report.
    language
        The language, "en" or "ko".
    """
    return {"step": step, "state": step.outcome, "word": _outcome_word(step, language)}


def step_text(step: StepReport, language: str) -> str:
    """Return a step as plain text: the outcome and the instruction, and the reason in a second line.

    Parameters
    ----------
    step
        The step's report.
    language
        The language, "en" or "ko".
    """
    line = i18n.gettext("line {line}", language, line=step.line)
    reason = text.inline(i18n.render_reason(step.reason, language))
    return f"{_outcome_word(step, language):>8}  {line:<8} {text.inline(step.title)}\n{'':>10}{reason}"


def _outcome_word(step: StepReport, language: str) -> str:
    def translate(word: str) -> str:
        return i18n.gettext(word, language)

    words = {
        "cached": "CACHED",  # as docker prints it
        "ran": translate("ran"),
        "runs": translate("runs"),
        "depends": translate("depends"),
        "not reached": translate("not reached"),
        "not known": translate("not known"),
    }
    return words[step.outcome]
