"""Predictions without a browser: marks, results, and static fallbacks."""

from __future__ import annotations

from dataclasses import replace

from stagelens.builds import BuildTrace, Vertex
from stagelens.cache import BuildInputs, BuildRecord, Prediction
from stagelens.dockerfile import parse
from stagelens.views import PredictCache

DOCKERFILE = parse("FROM scratch\nCOPY <<E /a\nx\nE\nRUN make <b>\n")
INPUTS = BuildInputs(DOCKERFILE, {}, {})
FIRST, SECOND = (0, 1), (0, 2)


def record(*cached: bool) -> BuildRecord:
    steps = tuple(
        Vertex(f"{n}", f"step {n}", cached=hit, started=0.0, completed=1.0, stage=0, instruction=n)
        for n, hit in enumerate(cached, 1)
    )
    return BuildRecord(INPUTS, BuildTrace(DOCKERFILE, steps, "session", "sha256:0"))


def test_each_step_is_marked_cached_by_default() -> None:
    view = PredictCache(None, INPUTS)
    assert [row["line"] for row in view.questions] == [2, 5]
    assert view.prediction == Prediction({FIRST: True, SECOND: True})
    view.choices = [True, False]
    assert view.prediction.marks[SECOND] is False
    view.choices = [True]
    assert view.choices == [True, False], "what does not fit the questions is not taken"


def test_marks_are_compared_with_a_build_and_then_fixed() -> None:
    view = PredictCache(record(False, False), INPUTS)
    view.prediction = Prediction({FIRST: True, SECOND: True})
    view.mark(record(True, False))
    assert view.score == 1
    assert [(row["outcome"], row["right"]) for row in view.result] == [("cached", True), ("ran", False)]
    view.choices = [True, False]
    assert view.choices == [True, True]


def test_reasons_follow_the_language() -> None:
    edited = BuildInputs(parse("FROM scratch\nCOPY <<E /a\ny\nE\nRUN make <b>\n"), {}, {})
    before, after = record(False, False), replace(record(False, False), inputs=edited)
    view = PredictCache(before, edited)
    assert "The instruction itself was edited." in str(view.hint())
    view.mark(after)
    assert [row["why"] for row in view.result] == [
        "The instruction itself was edited.",
        "It builds on line 2 (COPY <<E /a y), which ran again: the instruction itself was edited.",
    ]
    view.language = "ko"
    assert [row["why"] for row in view.result] == [
        "인스트럭션이 수정되었습니다.",
        "2번째 줄(COPY <<E /a y)의 결과를 바탕으로 하는데, "
        "그 단계가 다시 실행되었습니다: 인스트럭션이 수정되었습니다.",
    ]
    assert "실행됨" in str(view)
    assert "5번째 줄" in view._repr_html_()
    assert "인스트럭션이 수정되었습니다." in str(view.hint())


def test_korean_fallback_declares_its_language() -> None:
    view = PredictCache(record(False, False), INPUTS, language="ko")
    hint = view.hint()
    assert "2번째 줄" in str(view)
    assert "2번째 줄" in str(hint)
    # What a language breaks its lines by, and a screen reader pronounces it by.
    assert all('lang="ko"' in shown._repr_html_() for shown in (view, hint))


def test_static_fallback_shows_marks_then_results() -> None:
    view = PredictCache(record(False, False), INPUTS, language="ko")
    assert "RUN make &lt;b&gt;" in view._repr_html_()
    assert "예측" in view._repr_html_()
    view.mark(record(True, False))
    html = view._repr_html_()
    assert "2개 중 1개 맞음" in html
    assert "<b>" not in html.replace('<b class="', "")


def test_plain_text_has_no_terminal_control_characters() -> None:
    inputs = replace(INPUTS, dockerfile=parse("FROM base\nRUN echo '\x1b[2J\u202e'\n"))
    view = PredictCache(None, inputs)
    for shown in (view, view.hint()):
        assert "\\u{1b}[2J\\u{202e}" in str(shown)
        assert "\x1b" not in str(shown)
