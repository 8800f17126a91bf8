"""The exercise's editor in JupyterLab: Check and Cancel, pressed as a learner presses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from stagelens.engine import Engine

pytestmark = [pytest.mark.browser, pytest.mark.engine]

EDITOR = """
from pathlib import Path
from stagelens.grade.workbench import Workbench
bench = Workbench("multi-stage-go", Path({folder!r}))
bench.editor()
"""
SOLUTION = Path(__file__).parents[2] / "solutions/multi-stage-go/Dockerfile"


def test_an_answer_is_checked_beside_other_work_and_a_check_cancelled(
    page: Page, lab: Any, engine: Engine, tmp_path: Path, picture: Any
) -> None:
    lab.open(page, "exercise", EDITOR.format(folder=str(tmp_path / "mine")))
    area = page.locator(".stagelens-editor textarea")
    area.wait_for()
    editor = page.locator(".jp-OutputArea-output").filter(has=area)
    check, cancel = (editor.get_by_role("button", name=name) for name in ("Check", "Cancel"))

    area.fill("FROM diamol/golang\nRUN sleep 600\n")
    area.blur()
    check.click()
    expect(cancel).to_be_enabled()
    expect(check).to_be_disabled()
    expect(lab.run(page, "print(6 * 7)")).to_contain_text("42")
    cancel.click()
    expect(editor).to_contain_text("Cancelled. Nothing was graded.")

    area.fill(SOLUTION.read_text(encoding="utf-8"))
    area.blur()
    check.click()
    picture(editor, "exercise-checking")
    expect(editor).to_contain_text("18 of 18 points", timeout=280_000)
    expect(check).to_be_enabled()
    expect(cancel).to_be_disabled()
    picture(editor, "exercise-checked")
