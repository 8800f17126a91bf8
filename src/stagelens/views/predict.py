"""Predict the cache: mark each instruction before a build, and see the marks held against it."""

from __future__ import annotations

from typing import Any

import traitlets as t

from stagelens.cache import (
    BuildRecord,
    Inputs,
    Marked,
    MarkedStep,
    Prediction,
    Question,
    forecast,
    mark,
    questions,
)
from stagelens.views import markup, text, why
from stagelens.views.base import STATIC, View


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

    questions = t.List().tag(sync=True)
    choices = t.List(t.Bool()).tag(sync=True)
    result = t.List().tag(sync=True)
    score = t.Int(-1).tag(sync=True)

    def __init__(self, before: BuildRecord | None, now: Inputs, **traits: Any) -> None:
        """`before` is the build to compare with, `now` what the next one is made from."""
        self._before = before
        self._now = now
        self._asked = questions(now)
        self._marked: Marked | None = None
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
        """The front end's choices count only while there is nothing to compare them with."""
        value: list[bool] = proposal["value"]
        fits = self._marked is None and len(value) == len(self._asked)
        return value if fits else self.choices

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
        with self.hold_sync():
            self.result = [_result(row) for row in self._marked.rows]
            self.score = self._marked.score
        return self

    def _repr_html_(self) -> str:
        return markup.frame(f'<div class="sl-card">{self._table()}</div>')

    def _table(self) -> str:
        if self._marked is None:
            rows = [
                (self._said(cached), _label(question))
                for question, cached in zip(self._asked, self.choices, strict=True)
            ]
            return markup.table((self.say("you say"), self.say("instruction")), rows)
        rows = self._marked.rows
        cells = [(_sign(row.right), self._said(row.cached)) for row in rows]
        score = self.say("{right} of {all} right", right=self._marked.score, all=self._marked.total)
        return markup.heading(score) + why.table([r.verdict for r in rows], ("", self.say("you said")), cells)

    def _said(self, cached: bool | None) -> str:
        if cached is None:
            return self.say("no mark")
        return "CACHED" if cached else self.say("runs")

    def __str__(self) -> str:
        if self._marked is not None:
            return str(self._marked)
        pairs = zip(self._asked, self.choices, strict=True)
        return "\n".join(f"{'CACHED' if c else 'runs':>8}  line {q.line:<3} {q.title}" for q, c in pairs)


def _question(question: Question) -> dict[str, Any]:
    return {
        "stage": question.stage,
        "line": question.line,
        "label": text.prose(question.label, 60),
        "title": text.prose(question.title, 120),
    }


def _result(row: MarkedStep) -> dict[str, Any]:
    verdict = row.verdict
    return {
        "stage": verdict.stage,
        "line": verdict.line,
        "label": text.prose(verdict.label, 60),
        "title": text.prose(verdict.title, 120),
        "outcome": verdict.outcome,
        "said": row.cached,
        "right": row.right,
        "seconds": verdict.seconds,
        "why": text.prose(verdict.why, 1000),
    }


def _label(question: Question) -> str:
    where = f"{markup.html_text(question.label)}, line {question.line}"
    return f'<code>{markup.html_text(question.title)}</code> <span class="sl-soft">{where}</span>'


def _sign(right: bool) -> str:
    return '<b class="sl-added">✓</b>' if right else '<b class="sl-removed">✗</b>'
