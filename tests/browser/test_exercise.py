"""The exercise's editor in JupyterLab: a learner presses Check and Cancel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from stagelens.engine import Engine

pytestmark = [pytest.mark.browser, pytest.mark.engine]

EDITOR = """
from pathlib import Path
from stagelens_course.exercises import Workbench
bench = Workbench("multi-stage-go", Path({folder!r}))
bench.editor()
"""
SLOW = """
import time
save = bench.save
def slow(text):
    while not Path({gate!r}).exists():
        time.sleep(0.1)
    return save(text)
bench.save = slow
"""
SOLUTION = Path(__file__).parents[2] / "solutions/multi-stage-go/Dockerfile"


def test_check_runs_beside_other_cells_and_can_be_cancelled(
    page: Page, lab: Any, engine: Engine, tmp_path: Path, accessible: Any, picture: Any, fits: Any
) -> None:
    lab.open(page, "exercise", EDITOR.format(folder=str(tmp_path / "mine")))
    output = page.locator(".jp-OutputArea").filter(has=page.locator(".sl-editor"))
    editor = output.locator(".sl-editor")
    area = editor.get_by_role("textbox")
    area.wait_for()
    # The file that is named is made by the first Save.
    saved = editor.get_by_role("status").first
    expect(saved).to_have_text("not saved yet")
    editor.get_by_role("button", name="Save").click()
    expect(saved).to_have_text("saved")
    assert (tmp_path / "mine/Dockerfile").is_file()
    check, cancel = (editor.get_by_role("button", name=name) for name in ("Check", "Cancel"))
    news = editor.get_by_role("status").last

    # Pressed at once, before the pause after which a text is sent by itself.
    area.fill("FROM diamol/golang\nRUN sleep 600\n")
    check.click()
    expect(cancel).to_be_enabled()
    expect(check).to_be_disabled()
    expect(editor.get_by_role("progressbar")).to_be_visible()
    picture(output, "exercise-checking")
    expect(lab.run(page, "print(6 * 7)")).to_contain_text("42")
    cancel.click()
    expect(news).to_have_text("Cancelled. Nothing was graded.")
    expect(check).to_be_enabled()

    area.fill(SOLUTION.read_text(encoding="utf-8"))
    area.press("Control+Enter")
    expect(news).to_have_text("18 of 18 points")
    expect(output).to_contain_text("12 of 12 checks passed")
    expect(check).to_be_enabled()
    expect(cancel).to_be_disabled()
    accessible(page)
    picture(output, "exercise-checked")

    # On a telephone a check stands below its verdict, and has the whole width.
    fits(page, ".sl-checks", 320)
    widths = output.locator(".sl-checks").evaluate(
        "e => [e, e.querySelector('li').lastChild].map((x) => x.clientWidth)"
    )
    assert widths[1] > widths[0] * 0.8
    page.set_viewport_size({"width": 1280, "height": 1000})

    # Where the kernel takes its time that is said, and what is typed meanwhile stays.
    gate = tmp_path / "gate"
    lab.run(page, SLOW.format(gate=str(gate)))
    area.fill("FROM scratch\n")
    editor.get_by_role("button", name="Save").click()
    area.fill("FROM scratch AS typed\n")
    expect(news).to_contain_text("Waiting for the kernel")
    gate.touch()
    expect(news).to_contain_text("Saved")
    expect(area).to_have_value("FROM scratch AS typed\n")
    expect(saved).to_have_text("not saved yet")
