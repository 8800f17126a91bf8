"""The status line below a running cell shows the running step, and nothing at the end."""

from __future__ import annotations

import pytest
from IPython.utils.capture import capture_output

from stagelens.builds import Vertex
from stagelens.views import StatusLine

MAKE = Vertex("a" * 64, "[builder 2/2] RUN make \u202e", started=10.0, stage=0, instruction=1)
OVER = Vertex("b" * 64, "[builder 1/2] COPY", started=9.0, completed=10.0, stage=0, instruction=1)


def test_status_line_shows_the_running_step_and_then_nothing(shell: None) -> None:
    with capture_output() as seen, StatusLine() as line:
        line.step(OVER, ())
        line.step(MAKE, ())
        line.step(MAKE, ())  # it is told of again: nothing new
    told = [output.data["text/plain"] for output in seen.outputs]
    assert told == ["…", "[builder 2/2] RUN make \\u{202e}", ""]


def test_same_text_is_not_sent_again(shell: None) -> None:
    with capture_output() as seen, StatusLine() as line:
        for told in ("building", "building", "looking", "building"):
            line(told)
    assert [output.data["text/plain"] for output in seen.outputs] == [
        "…",
        "building",
        "looking",
        "building",
        "",
    ]


def test_status_line_prints_nothing_outside_notebooks(capsys: pytest.CaptureFixture[str]) -> None:
    with StatusLine() as line:
        line("building")
    assert capsys.readouterr() == ("", "")
