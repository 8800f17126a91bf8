"""Text from logs is shown as text."""

from __future__ import annotations

from stagelens.build import LogLine, Vertex
from stagelens.views import BuildView


def test_a_hostile_log_line_stays_text() -> None:
    view = BuildView()
    line = LogLine(0.0, 1, "<img src=x onerror=alert(1)>")
    view.take(Vertex("d", "RUN <b>", instruction=1, stage=0, logs=(line,)), (line,))
    html = view._repr_html_()
    assert "<img" not in html
    assert "<b>" not in html
    assert str(view) == "1 steps, 0 from the cache, 0 failed"
