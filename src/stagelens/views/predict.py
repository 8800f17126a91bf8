"""Predict the cache: mark each instruction before a build, and see the marks held against it."""

from __future__ import annotations

from typing import Any, cast

import ipywidgets

from stagelens.cache import (
    BuildRecord,
    Inputs,
    Marked,
    Prediction,
    Question,
    forecast,
    mark,
    questions,
)
from stagelens.views import markup, why

_CHOICES = (("CACHED", True), ("runs", False))


class PredictCache:
    """Choose for every instruction whether it will be CACHED or run, build, then `mark` the answer.

    Without a choice everything counts as CACHED, which is what a notebook without a reader says. `str()`
    and the static HTML show the same as the buttons.
    """

    def __init__(self, before: BuildRecord | None, now: Inputs) -> None:
        """`before` is the build to compare with, `now` what the next one is made from."""
        self._before = before
        self._now = now
        self._questions = questions(now)
        self._marked: Marked | None = None
        self._buttons = [_button(question) for question in self._questions]
        self._box = ipywidgets.VBox(self._rows())

    @property
    def prediction(self) -> Prediction:
        """The marks as they are now."""
        pairs = zip(self._questions, self._buttons, strict=True)
        return Prediction({question.key: bool(button.value) for question, button in pairs})

    @prediction.setter
    def prediction(self, value: Prediction) -> None:
        for question, button in zip(self._questions, self._buttons, strict=True):
            button.value = value.marks.get(question.key, True)

    def hint(self) -> why.WhyView:
        """What stagelens itself expects."""
        return why.WhyView(forecast(self._before, self._now))

    @property
    def marked(self) -> Marked | None:
        """The result, once there is one."""
        return self._marked

    def mark(self, after: BuildRecord) -> PredictCache:
        """Hold the marks against a build; the view shows the result from then on."""
        self._marked = mark(self.prediction, self._before, after)
        for button in self._buttons:
            button.disabled = True
        self._box.children = (ipywidgets.HTML(self._repr_html_()),)
        return self

    def _rows(self) -> tuple[ipywidgets.Widget, ...]:
        return tuple(
            ipywidgets.HBox([button, ipywidgets.HTML(markup.frame(_label(question)))])
            for question, button in zip(self._questions, self._buttons, strict=True)
        )

    def _repr_mimebundle_(self, **options: Any) -> Any:
        found = cast("dict[str, Any]", self._box._repr_mimebundle_(**options))  # pyright: ignore[reportPrivateUsage]
        return found | {"text/html": self._repr_html_(), "text/plain": str(self)}

    def _repr_html_(self) -> str:
        return markup.frame(f'<div class="sl-card">{self._table()}</div>')

    def _table(self) -> str:
        if self._marked is None:
            marks = self.prediction.marks
            rows = [(_said(marks[question.key]), _label(question)) for question in self._questions]
            return markup.table(("you say", "instruction"), rows)
        rows = self._marked.rows
        cells = [
            (_sign(row.right), _said(row.cached) if row.cached is not None else "no mark") for row in rows
        ]
        head = markup.heading(f"{self._marked.score} of {self._marked.total} right")
        return head + why.table([row.verdict for row in rows], ("", "you said"), cells)

    def __str__(self) -> str:
        if self._marked is not None:
            return str(self._marked)
        marks = self.prediction.marks
        return "\n".join(
            f"{'CACHED' if marks[q.key] else 'runs':>8}  line {q.line:<3} {q.title}" for q in self._questions
        )


def _button(question: Question) -> ipywidgets.ToggleButtons:
    return ipywidgets.ToggleButtons(
        options=_CHOICES,
        value=True,
        tooltips=[f"line {question.line} comes from the cache", f"line {question.line} runs again"],
        style={"button_width": "92px"},
    )


def _label(question: Question) -> str:
    where = f"{markup.html_text(question.label)}, line {question.line}"
    return f'<code>{markup.html_text(question.title)}</code> <span class="sl-soft">{where}</span>'


def _said(cached: bool) -> str:
    return "CACHED" if cached else "runs"


def _sign(right: bool) -> str:
    return '<b class="sl-added">✓</b>' if right else '<b class="sl-removed">✗</b>'
