"""A widget in which a learner predicts the cache: mark each instruction, build, and compare."""

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
    """A form to predict for each instruction whether it will be CACHED or run; `mark` compares with a build.

    Every instruction is marked as CACHED until the reader changes the mark.

    Parameters
    ----------
    before
        The build to compare with; None if there was none.
    now
        The inputs of the next build.
    language
        The language, "en" or "ko"; by default the chosen one.

    Attributes
    ----------
    questions
        The stage, line, label and title of each instruction (read only).
    choices
        For each question whether the step will be CACHED.
    result
        After `mark` a row for each step that the build reached, before it empty (read only).
    score
        The number of right marks; -1 before `mark` (read only).
    """

    _esm = STATIC / "predict_cache.js"
    _css = STATIC / "predict_cache.css"

    questions = t.List().tag(sync=True)
    choices = t.List(t.Bool()).tag(sync=True)
    result = t.List().tag(sync=True)
    score = t.Int(-1).tag(sync=True)

    def __init__(self, before: BuildRecord | None, now: BuildInputs, *, language: str | None = None) -> None:
        self._before = before
        self._now = now
        self._steps = predictable_steps(now)
        self._marked: MarkedPrediction | None = None
        rows = [_question(question) for question in self._steps]
        super().__init__(language=language, traits={"questions": rows, "choices": [True] * len(rows)})

    @property
    def prediction(self) -> Prediction:
        """The current marks."""
        pairs = zip(self._steps, self.choices, strict=True)
        return Prediction({question.key: bool(cached) for question, cached in pairs})

    @prediction.setter
    def prediction(self, value: Prediction) -> None:
        self.choices = [value.marks.get(question.key, True) for question in self._steps]

    @t.validate("choices")
    def _check_choices(self, proposal: dict[str, Any]) -> list[bool]:
        """Accept one choice for each question, and none after `mark`."""
        value: list[bool] = proposal["value"]
        fits = self._marked is None and len(value) == len(self._steps)
        return value if fits else self.choices

    def hint(self) -> why_view.WhyView:
        """Return the outcomes that stagelens predicts, with reasons."""
        return why_view.WhyView(forecast(self._before, self._now), language=self.language)

    @property
    def marked(self) -> MarkedPrediction | None:
        """The marks compared with the build; None before `mark`."""
        return self._marked

    def mark(self, after: BuildRecord) -> PredictCache:
        """Compare the marks with a build, and show the result.

        Parameters
        ----------
        after
            The build to compare with.

        Returns
        -------
        PredictCache
            This view.
        """
        self._marked = mark_prediction(self.prediction, self._before, after)
        with self.hold_sync():
            self._update_result(self._marked)
            self.score = self._marked.score
        return self

    def _update_result(self, marked: MarkedPrediction) -> None:
        self.result = [_result(row, self.language) for row in marked.rows]

    @t.observe("language")
    def _translate_result(self, _: object) -> None:
        if self._marked is not None:
            self._update_result(self._marked)

    def _repr_html_(self) -> str:
        if self._marked is None:
            pairs = zip(self._steps, self.choices, strict=True)
            marks = [(self._mark_word(cached), question) for question, cached in pairs]
            return self._render(TEMPLATES / "predict_cache.html", marks=marks, rows=None)
        rows = [
            why_view.step_row(row.report, self.language) | {"right": row.right, "note": self._note(row)}
            for row in self._marked.rows
        ]
        return self._render(TEMPLATES / "predict_cache.html", rows=rows, score=self._score(self._marked))

    def _note(self, row: MarkedStep) -> str:
        return self.translate("you said: {mark}", mark=self._mark_word(row.cached))

    def _mark_word(self, cached: bool | None) -> str:
        if cached is None:
            return self.translate("no mark")
        return "CACHED" if cached else self.translate("runs")

    def __str__(self) -> str:
        if self._marked is not None:
            return "\n".join([self._score(self._marked), *map(self._row_text, self._marked.rows)])
        pairs = zip(self._steps, self.choices, strict=True)
        return "\n".join(
            f"{self._mark_word(c):>8}  {self.translate('line {line}', line=q.line):<8} {text.inline(q.title)}"
            for q, c in pairs
        )

    def _row_text(self, row: MarkedStep) -> str:
        sign = self.translate("right") if row.right else self.translate("wrong")
        return f"{sign}, {self._note(row)}\n{why_view.step_text(row.report, self.language)}"

    def _score(self, marked: MarkedPrediction) -> str:
        return self.translate("{right} of {all} right", right=marked.score, all=marked.total)


def _question(question: PredictableStep) -> dict[str, Any]:
    return {
        "stage": question.stage,
        "line": question.line,
        "label": text.inline(question.label, 60),
        "title": text.inline(question.title, 120),
    }


def _result(row: MarkedStep, language: str) -> dict[str, Any]:
    report = row.report
    return {
        "stage": report.stage,
        "line": report.line,
        "label": text.inline(report.label, 60),
        "title": text.inline(report.title, 120),
        "outcome": report.outcome,
        "predicted": row.cached,
        "right": row.right,
        "seconds": report.seconds,
        "why": text.inline(i18n.render_reason(report.reason, language), 1000),
    }
