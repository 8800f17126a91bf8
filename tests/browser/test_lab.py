"""`stagelens lab` in a real browser: the lesson opens, runs, and its widgets answer.

Needs Debian's `chromium`; `./stagelens test` installs it. SCREENSHOTS=folder keeps pictures.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from stagelens_testing.resources import PATIENCE, free_port

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.browser, pytest.mark.engine]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, settings: Path) -> Iterator[str]:
    port = free_port()
    log = tmp_path_factory.mktemp("lab") / "log"
    command = [sys.executable, "-m", "stagelens_course", "lab", "--no-browser", "--port", str(port)]
    environment = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(settings)}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    try:
        yield _address(log, process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+/lab\S*token=\w+", log.read_text(errors="replace"))
        if found:
            return found[0]
        time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace"))


def test_new_user_runs_the_first_lesson(
    page: Page, address: str, picture: Callable[[Page, str], None]
) -> None:
    notebook = "tree/notebooks/en/01-multi-stage.ipynb"
    page.goto(address if "01-multi-stage" in address else address.replace("/lab?", f"/lab/{notebook}?"))
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    expect(cells.first).to_be_visible()
    # Running before the kernel is there would make JupyterLab ask which kernel to take.
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    outputs = page.locator(".jp-Notebook .jp-OutputArea-output")
    expect(outputs.filter(has_text="Testing...").last).to_be_visible()
    expect(page.locator(".jp-Notebook .jp-RenderedText[data-mime-type*=stderr]")).to_have_count(0)

    explorer = page.locator(".sl-explorer")
    explorer.scroll_into_view_if_needed()
    explorer.get_by_role("group", name="Stage").get_by_role("button", name="test-stage").click()
    file = explorer.get_by_role("treeitem").filter(has_text="build.txt")
    expect(file).to_contain_text("changed")
    file.click()
    expect(explorer.locator(".sl-plus")).to_contain_text("Testing...")
    picture(page, "lesson-01-stages")
    explorer.get_by_role("slider", name="Instruction").press("ArrowLeft")
    expect(file).to_contain_text("added")

    expect(page.locator(".sl-layers .sl-layer").last).to_contain_text("shared with diamol/base")
    build = page.locator(".sl-build")
    build.scroll_into_view_if_needed()
    expect(build.locator(".sl-title")).to_have_text("Built")
    picture(page, "lesson-01-build")
