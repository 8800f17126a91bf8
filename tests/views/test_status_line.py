"""The line below a running cell: which step runs, and nothing once it is over."""

from __future__ import annotations

import pytest
from IPython.utils.capture import capture_output

from stagelens.builds import Vertex
from stagelens.views import StatusLine

MAKE = Vertex("a" * 64, "[builder 2/2] RUN make \u202e", started=10.0, stage=0, instruction=1)
OVER = Vertex("b" * 64, "[builder 1/2] COPY", started=9.0, completed=10.0, stage=0, instruction=1)


def test_the_running_step_is_told_and_nothing_stays(shell: None) -> None:
    with capture_output() as seen, StatusLine() as line:
        line.step(OVER, ())
        line.step(MAKE, ())
        line.step(MAKE, ())  # it is told of again: nothing new
    told = [output.data["text/plain"] for output in seen.outputs]
    assert told == ["…", "[builder 2/2] RUN make \\u{202e}", ""]


def test_what_it_says_already_is_not_said_again(shell: None) -> None:
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


def test_outside_of_a_notebook_it_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with StatusLine() as line:
        line("building")
    assert capsys.readouterr() == ("", "")
