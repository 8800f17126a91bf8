"""The build view without a browser, during a build and after it."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from stagelens.buildkit import BuildCancelled
from stagelens.builds import BuildFailed, BuildTrace, LogLine, Vertex
from stagelens.dockerfile import parse
from stagelens.errors import StagelensError
from stagelens.views import BuildView, build_model

DOCKERFILE = """\
FROM base AS builder
RUN make <b>
FROM base AS unused
RUN touch /x
FROM busybox
COPY --from=builder /out/app /out/lib /opt/
COPY --from=alpine /etc/passwd /etc/
CMD ["/opt/app"]
"""
LINES = (LogLine(1.0, 1, "<img src=x onerror=alert(1)>", ((0, 4, "red"),)), LogLine(1.1, 2, "warning"))
MAKE = Vertex("a" * 64, "[builder 2/2] RUN make <b>", started=10.0, stage=0, instruction=1, logs=LINES)
COPY = Vertex("b" * 64, "[stage-2 2/3] COPY", (MAKE.digest,), True, 12.0, 12.0, "", 2, 1)
DONE = Vertex("a" * 64, MAKE.name, (), False, 10.0, 12.0, "", 0, 1, LINES)
TRACE = BuildTrace(parse(DOCKERFILE), (DONE, COPY), "session", "sha256:0", started=10.0, completed=12.5)


@pytest.fixture
def done() -> BuildView:
    view = BuildView()
    view.on_vertex(MAKE, LINES)
    view.finish(TRACE)
    return view


def test_outline_has_edges_between_stages() -> None:
    found = build_model.outline(TRACE.dockerfile, None)
    assert [(s["label"], s["needed"]) for s in found["stages"]] == [
        ("builder", True),
        ("unused", False),
        ("stage-2", True),
    ]
    assert [(e["source"], e["target"], e["label"]) for e in found["edges"]] == [
        (0, 2, "/out/app /out/lib"),
        ("alpine", 2, "/etc/passwd"),
    ]
    assert [step["runs"] for step in found["stages"][2]["steps"]] == [True, True, True, False]


def test_running_step_has_seconds_so_far() -> None:
    (row,) = build_model.steps([MAKE], now=11.5, begun=9.0)
    assert (row["state"], row["start"], row["seconds"]) == ("running", 1.0, 1.5)
    (row,) = build_model.steps([MAKE], now=11.5, begun=9.0, over=True)
    assert row["state"] == "stopped"


def test_finished_build_has_totals_and_critical_path(done: BuildView) -> None:
    assert done.phase == "done"
    assert [(row["state"], row["critical"]) for row in done.steps] == [("done", True), ("cached", False)]
    assert done.totals == {
        **{"waiting": 0, "running": 0, "cached": 1, "done": 1, "failed": 0},
        **{"steps": 2, "work": 2.0, "seconds": 2.5, "sent": 0},
    }
    json.dumps(done.get_state(), default=str)


def test_looked_up_base_image_does_not_count_as_run() -> None:
    found = Vertex("c" * 64, "[builder 1/2] FROM", started=9.0, completed=10.0, stage=0, instruction=0)
    assert build_model.totals([found, COPY])["steps"] == 1
    assert build_model.totals([found, COPY])["done"] == 0
    assert build_model.totals([replace(found, error="no such image")])["failed"] == 1


def test_cancelled_build_ends_when_it_is_cancelled() -> None:
    view = BuildView()
    view.on_vertex(replace(MAKE, started=time.time() - 60), ())
    view._started = time.time() - 100
    view._fail(BuildCancelled("The build was cancelled."))
    (step,) = view.steps
    assert view.phase == "cancelled"
    assert step["state"] == "stopped"
    assert step["seconds"] >= 60
    assert view.totals["seconds"] >= 100


def test_no_step_runs_or_waits_in_a_stopped_build() -> None:
    waits = replace(MAKE, digest="c" * 64, started=None)
    told = build_model.totals([MAKE, waits])
    assert (told["running"], told["waiting"]) == (1, 1)
    told = build_model.totals([MAKE, waits], over=True)
    assert (told["steps"], told["running"], told["waiting"]) == (2, 0, 0)


def test_log_request_returns_lines_from_an_index(done: BuildView) -> None:
    step = done.steps[0]["id"]
    assert done.request("log", step=step, start=1) == {"start": 1, "lines": [[2, "warning", []]], "total": 2}
    assert done.request("log", step=step, start=0)["lines"][0][2] == [[0, 4, "red"]]
    with pytest.raises(StagelensError, match=r"There is no such step\."):
        done.request("log", step="no such", start=0)


def test_long_log_is_sent_in_several_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_model, "MAX_LOG", 1000)
    lines = [LogLine(0.0, 1, f"{n}" * 60) for n in range(100)]
    seen = 0
    while seen < 100:
        answer = build_model.log(lines, seen)
        assert answer["total"] == 100
        assert len(json.dumps(answer)) < 2000
        seen += len(answer["lines"])


def test_static_fallback_and_text_show_steps(done: BuildView) -> None:
    html = done._repr_html_()
    assert "<img" not in html
    assert "RUN make &lt;b&gt;" in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "builder → stage-2: <code>/out/app /out/lib</code>" in html
    assert "unused" not in html
    assert str(done) == "2 steps, 1 from the cache, 0 failed"
    assert str(BuildView(language="ko")) == "단계 0개, 캐시 0개, 실패 0개"


def test_failed_build_shows_where_and_why() -> None:
    view = BuildView()
    failed = Vertex("a" * 64, MAKE.name, (), False, 10.0, 11.0, "exit code: 2", 0, 1, LINES)
    stage = TRACE.dockerfile.stages[0]
    trace = BuildTrace(TRACE.dockerfile, (failed,), "session", None, started=10.0, completed=11.0)
    view.on_vertex(failed, ())
    view._fail(
        BuildFailed("process did not complete: exit code: 2", trace, stage, stage.instructions[1], LINES)
    )
    assert view.phase == "failed"
    assert view.steps[0]["state"] == "failed"
    assert view.problem["what"] == "RUN make <b> failed with exit code 2."
    assert "RUN make &lt;b&gt; failed" in view._repr_html_()
