"""`stagelens lab` in a real browser: the lesson opens, runs, and its widgets answer.

Needs Debian's `chromium`; `./stagelens test` installs it. SCREENSHOTS=folder keeps pictures.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [pytest.mark.browser, pytest.mark.engine]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("lab") / "log"
    command = [sys.executable, "-m", "stagelens.cli", "lab", "--no-browser", "--port", str(port)]
    environment = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(_settings(tmp_path_factory.mktemp("settings")))
    }
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
        process.wait(30)


def _settings(folder: Path) -> Path:
    """All cells are in the page at once, not just those in view; and no question about news."""
    choices = {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false"},
    }
    for name, values in choices.items():
        path = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    return folder


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+/lab\S*token=\w+", log.read_text(errors="replace"))
        if found:
            return found[0]
        time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace"))


@pytest.fixture
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium")
    assert chromium, "the browser tests need Debian's package chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser.new_page(viewport={"width": 1280, "height": 1000})
        browser.close()


def _picture(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_a_new_user_runs_the_first_lesson(page: Page, address: str) -> None:
    notebook = "tree/notebooks/en/01-multi-stage.ipynb"
    page.goto(address if "01-multi-stage" in address else address.replace("/lab?", f"/lab/{notebook}?"))
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    expect(cells.first).to_be_visible(timeout=60_000)
    # Running before the kernel is there would make JupyterLab ask which kernel to take.
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    outputs = page.locator(".jp-Notebook .jp-OutputArea-output")
    expect(outputs.filter(has_text="Testing...").last).to_be_visible(timeout=90_000)
    expect(page.locator(".jp-Notebook .jp-RenderedText[data-mime-type*=stderr]")).to_have_count(0)

    stage = page.locator(".widget-dropdown select").first
    stage.scroll_into_view_if_needed()
    stage.select_option(label="test-stage")
    widget = page.locator(".jp-OutputArea-output").filter(has=page.locator(".widget-dropdown")).first
    expect(widget).to_contain_text("Testing...")
    expect(widget).to_contain_text("~ /build.txt")
    _picture(page, "lesson-01-stages")
    slider = widget.locator(".widget-slider .noUi-handle, .widget-slider [role=slider]").first
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(widget).to_contain_text("+ /build.txt")

    page.locator(".jp-OutputArea-output table").first.scroll_into_view_if_needed()
    expect(page.locator(".sl .badge").first).to_be_visible()
    _picture(page, "lesson-01-build")
