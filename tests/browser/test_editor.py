"""The Dockerfile editor in JupyterLab: problems by line, and a real build with its button."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = [pytest.mark.browser, pytest.mark.engine]

TEXT = "# <img src=x onerror=window.hacked=1>\nFROM diamol/base AS one\nRUN echo hello\nRUNN nothing\n"
CELL = """
import os, sys
os.environ["PATH"] = os.path.dirname(sys.executable)  # where hadolint is
from stagelens.views import DockerfileEditor, lint
lint._TIMEOUT = 600  # what hadolint says later is left out
editor = DockerfileEditor({context!r}, tags=[{tag!r}])
editor
"""


def test_fixed_dockerfile_is_built(
    page: Page,
    lab: Lab,
    accessible: Callable[[Page], None],
    unique: str,
    clean: object,
    picture: Callable[[Page | Locator, str], None],
) -> None:
    file: Path = lab.folder / "my-project/Dockerfile"
    file.parent.mkdir()
    file.write_text(TEXT)
    output = lab.open(page, "editor", CELL.format(context="my-project", tag=f"{unique}-editor"))
    view = output.locator(".sl-editor")
    problem = view.get_by_role("region", name="Problems").get_by_role("button")
    expect(problem).to_contain_text("line 4")
    expect(view.locator(".sl-at-error")).to_contain_text("RUNN nothing")
    expect(view.locator(".sl-is-comment")).to_have_text("# <img src=x onerror=window.hacked=1>")
    # Another widget below brings the shared styles again: they must not win over this one's own.
    button = view.get_by_role("button", name="Build", exact=True)
    colors = button.evaluate("e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]")
    assert colors[0] != colors[1]
    picture(output, "dockerfile-editor")
    accessible(page)

    # The problem leads to its line, and what is typed takes its place.
    problem.click()
    page.keyboard.type("RUN echo fixed")
    # What is left is what hadolint advises.
    expect(problem).to_have_count(2)
    expect(problem.first).to_contain_text("DL3006")
    expect(view.get_by_role("status").first).to_have_text("not saved yet")
    assert page.evaluate("window.hacked") is None
    page.keyboard.press("Control+Enter")
    expect(view.get_by_role("status").first).to_have_text("saved")
    build = output.locator(".sl-build")
    expect(build.locator(".sl-title")).to_have_text("Built")
    expect(build.locator(".sl-lane")).to_contain_text("RUN echo fixed")
    assert file.read_text() == TEXT.replace("RUNN nothing", "RUN echo fixed")


def test_widget_without_kernel_shows_what_to_do(page: Page, lab: Lab) -> None:
    file: Path = lab.folder / "ended-project/Dockerfile"
    file.parent.mkdir()
    file.write_text("FROM diamol/base\n")
    cell = "from stagelens.views import DockerfileEditor\nDockerfileEditor('ended-project')"
    view = lab.open(page, "ended", cell).locator(".sl-editor")
    view.get_by_role("textbox").wait_for()
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    view.get_by_role("button", name="Save").click()
    expect(view.get_by_role("alert")).to_contain_text("The kernel of this widget has stopped.")
    expect(view.get_by_role("alert")).to_contain_text("run its cell again")
