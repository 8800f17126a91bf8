"""Why each step ran or came from the cache, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stagelens import text
from stagelens.cache import StepForecast, StepVerdict
from stagelens.views import i18n, markup

Step = StepVerdict | StepForecast
_COLOURS = {"cached": "sl-added", "depends": "sl-soft"}


class WhyView:
    """The verdicts of `stagelens.explain`, or the steps of `stagelens.cache.forecast`, a row each."""

    def __init__(self, steps: Iterable[Step], *, language: str | None = None) -> None:
        """`language`: "en" or "ko"; the chosen one unless given."""
        self._steps = tuple(steps)
        self._language = i18n.known(language or i18n.language())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def _repr_html_(self) -> str:
        return markup.frame(
            f'<div class="sl-card">{rows(self._steps, self._language)}</div>', language=self._language
        )

    def __str__(self) -> str:
        return "\n".join(line(step, self._language) for step in self._steps)


def rows(steps: Sequence[Step], language: str, marks: Sequence[tuple[str, str]] = ()) -> str:
    """A row for each step; `marks` are HTML for each: what stands before its state, and below its reason."""
    each = marks or [("", "")] * len(steps)
    found = (_row(step, language, *mark) for step, mark in zip(steps, each, strict=True))
    return f'<ul class="sl-reasons">{"".join(found)}</ul>'


def line(step: Step, language: str) -> str:
    """The step in plain text: its state and instruction, and below them why."""
    at = i18n.gettext("line {line}", language, line=step.line)
    told = text.inline(i18n.told(step.reason, language))
    return f"{state(step, language):>8}  {at:<8} {text.inline(step.title)}\n{'':>10}{told}"


def where(label: str, number: int, language: str) -> str:
    """A stage's name and a line, as HTML."""
    at = i18n.gettext("line {line}", language, line=number)
    return f'<span class="sl-soft">{markup.html_text(label)}, {at}</span>'


def state(step: Step, language: str) -> str:
    """What became of the step, or what is expected; CACHED is docker's own word."""

    def say(word: str) -> str:
        return i18n.gettext(word, language)

    words = {
        "cached": "CACHED",
        "ran": say("ran"),
        "runs": say("runs"),
        "depends": say("depends"),
        "not reached": say("not reached"),
    }
    return words[_state(step)]


def _state(step: Step) -> str:
    return step.outcome if isinstance(step, StepVerdict) else step.expected


def _row(step: Step, language: str, sign: str, note: str) -> str:
    colour = _COLOURS.get(_state(step), "sl-changed")
    reason = markup.html_text(i18n.told(step.reason, language), 1000)
    title = f"<code>{markup.html_text(step.title)}</code> {where(step.label, step.line, language)}"
    badge = f'{sign}<span class="sl-badge {colour}">{state(step, language)}</span>'
    return f"<li><div>{badge}</div><div>{title}<div>{reason}</div>{note}</div></li>"
