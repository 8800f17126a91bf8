"""Predict the cache: mark each instruction before a build, and see the marks held against it."""

from __future__ import annotations

from typing import Any

import traitlets as t

from stagelens import text
from stagelens.cache import (
    BuildInputs,
    BuildRecord,
    MarkedPrediction,
    MarkedStep,
    PredictableStep,
    Prediction,
    forecast,
    mark_prediction,
    predictable_steps,
)
from stagelens.views import i18n, why_view
from stagelens.views.base import STATIC, View
from stagelens.views.templating import TEMPLATES


class PredictCache(View):
    """Choose for every instruction whether it will be CACHED or run, build, then `mark` the answer.

    Without a choice everything counts as CACHED, which is what a notebook without a reader says.

    Traits
    ------
    questions: an instruction each: stage, line, label, title (read only).
    choices: for each question whether it will be CACHED.
    result: after `mark` a row for each step that the build reached, else empty (read only).
    score: how many marks were right; -1 before `mark` (read only).
    """

    _esm = STATIC / "predict_cache.js"
    _css = STATIC / "predict_cache.css"

    questions = t.List().tag(sync=True)
    choices = t.List(t.Bool()).tag(sync=True)
    result = t.List().tag(sync=True)
    score = t.Int(-1).tag(sync=True)

    def __init__(self, before: BuildRecord | None, now: BuildInputs, **traits: Any) -> None:
        """`before` is the build to compare with, `now` what the next one is made from."""
        self._before = before
        self._now = now
        self._asked = predictable_steps(now)
        self._marked: MarkedPrediction | None = None
        rows = [_question(question) for question in self._asked]
        super().__init__(questions=rows, choices=[True] * len(rows), **traits)

    @property
    def prediction(self) -> Prediction:
        """The marks as they are now."""
        pairs = zip(self._asked, self.choices, strict=True)
        return Prediction({question.key: bool(cached) for question, cached in pairs})

    @prediction.setter
    def prediction(self, value: Prediction) -> None:
        self.choices = [value.marks.get(question.key, True) for question in self._asked]

    @t.validate("choices")
    def _one_each(self, proposal: dict[str, Any]) -> list[bool]:
        """Accept the front end's choices only while there is nothing to compare them with."""
        value: list[bool] = proposal["value"]
        fits = self._marked is None and len(value) == len(self._asked)
        return value if fits else self.choices

    def hint(self) -> why_view.WhyView:
        """Return the outcomes that stagelens expects."""
        return why_view.WhyView(forecast(self._before, self._now), language=self.language)

    @property
    def marked(self) -> MarkedPrediction | None:
        """The result, once there is one."""
        return self._marked

    def mark(self, after: BuildRecord) -> PredictCache:
        """Hold the marks against a build; the view shows the result from then on."""
        self._marked = mark_prediction(self.prediction, self._before, after)
        with self.hold_sync():
            self._show(self._marked)
            self.score = self._marked.score
        return self

    def _show(self, marked: MarkedPrediction) -> None:
        self.result = [_result(row, self.language) for row in marked.rows]

    @t.observe("language")
    def _say_why_anew(self, _: object) -> None:
        if self._marked is not None:
            self._show(self._marked)

    def _repr_html_(self) -> str:
        if self._marked is None:
            pairs = zip(self._asked, self.choices, strict=True)
            marks = [(self._said(cached), question) for question, cached in pairs]
            return self._render(TEMPLATES / "predict_cache.html", marks=marks, rows=None)
        rows = [
            why_view.row(row.report, self.language) | {"right": row.right, "note": self._note(row)}
            for row in self._marked.rows
        ]
        return self._render(TEMPLATES / "predict_cache.html", rows=rows, score=self._score(self._marked))

    def _note(self, row: MarkedStep) -> str:
        return self.say("you said: {mark}", mark=self._said(row.cached))

    def _said(self, cached: bool | None) -> str:
        if cached is None:
            return self.say("no mark")
        return "CACHED" if cached else self.say("runs")

    def __str__(self) -> str:
        if self._marked is not None:
            return "\n".join([self._score(self._marked), *map(self._told, self._marked.rows)])
        pairs = zip(self._asked, self.choices, strict=True)
        return "\n".join(
            f"{self._said(c):>8}  {self.say('line {line}', line=q.line):<8} {text.inline(q.title)}"
            for q, c in pairs
        )

    def _told(self, row: MarkedStep) -> str:
        sign = self.say("right") if row.right else self.say("wrong")
        return f"{sign}, {self._note(row)}\n{why_view.line(row.report, self.language)}"

    def _score(self, marked: MarkedPrediction) -> str:
        return self.say("{right} of {all} right", right=marked.score, all=marked.total)


def _question(question: PredictableStep) -> dict[str, Any]:
    return {
        "stage": question.stage,
        "line": question.line,
        "label": text.inline(question.label, 60),
        "title": text.inline(question.title, 120),
    }


def _result(row: MarkedStep, language: str) -> dict[str, Any]:
    verdict = row.report
    return {
        "stage": verdict.stage,
        "line": verdict.line,
        "label": text.inline(verdict.label, 60),
        "title": text.inline(verdict.title, 120),
        "outcome": verdict.outcome,
        "predicted": row.cached,
        "right": row.right,
        "seconds": verdict.seconds,
        "why": text.inline(i18n.told(verdict.reason, language), 1000),
    }
