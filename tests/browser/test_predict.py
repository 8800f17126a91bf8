"""Cache predictions with the mouse: marks, a build, and the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = [pytest.mark.browser, pytest.mark.engine]

PREPARE = """\
import tempfile
from pathlib import Path
import stagelens
from stagelens.cache import read_inputs
from stagelens.views import PredictCache
work = tempfile.TemporaryDirectory()
project = Path(work.name)
(project / "Dockerfile").write_text("FROM diamol/base\\nWORKDIR /w\\nCOPY page.html .\\nRUN echo {unique}\\n")
(project / "page.html").write_text("{unique}")
first = stagelens.record(project, tags=["{unique}:x"])
(project / "page.html").write_text("edited {unique}")
guess = PredictCache(first, read_inputs(project))
guess
"""
MARK = "guess.mark(stagelens.record(project, tags=['{unique}:x']))\nwork.cleanup()\nguess"


def test_a_learner_marks_steps_and_sees_which_were_right(
    page: Page,
    lab: Lab,
    unique: str,
    clean: object,
    picture: Callable[[Page | Locator, str], None],
) -> None:
    output = lab.open(page, "predict", PREPARE.replace("{unique}", unique))
    expect(output.get_by_role("radio", name="runs")).to_have_count(3)
    expect(output).to_contain_text("COPY page.html .")
    second = output.get_by_role("radiogroup").nth(1)
    second.get_by_role("radio", checked=True).press("ArrowRight")
    expect(second.get_by_role("radio", checked=True)).to_have_text("runs")
    picture(output.locator(".sl-predict"), "predict-cache")
    result = lab.run(page, MARK.replace("{unique}", unique))
    expect(result).to_contain_text("2 of 3 right")
    expect(result).to_contain_text("page.html has different content.")
    expect(result).to_contain_text("It builds on line 3 (COPY page.html .), which ran again")
    picture(result.locator(".sl-predict"), "predict-marked")
