"""The build view in JupyterLab with real builds: live, cancelled, interrupted, failed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from stagelens_testing.resources import wait_until

from stagelens.engine import Engine

pytestmark = [pytest.mark.browser, pytest.mark.engine]

# They sleep for a number of seconds that no other program does, so that they are found, and woken.
LONG, LONGER, ENDLESSLY = (f"3600.{secrets.randbelow(10**9):09}" for _ in range(3))
GOOD = rf"""FROM diamol/base AS builder
RUN mkdir /out && echo app > /out/app && (sleep {LONGER}; true)
FROM diamol/base AS assets
RUN printf '\033[31mred <img src=x onerror=window.hacked=1>\033[0m\n' && \
    for n in $(seq 300); do echo "packing part $n"; done && mkdir /assets && (sleep {LONG}; true)
FROM diamol/base
COPY --from=builder /out/app /app
COPY --from=assets /assets /assets
CMD ["/app"]
"""
ENDLESS = f"FROM diamol/base\nRUN echo begun && sleep {ENDLESSLY}\n"
BROKEN = "FROM diamol/base\nRUN echo about to fail && exit 3\n"
CELL = """
from stagelens.views import BuildView
{before}
trace = await BuildView().build({context!r}, tags=[{tag!r}], no_cache=True)
"""


@pytest.fixture(scope="module")
def tag(engine: Engine, unique_here: str) -> Iterator[str]:
    name = f"{unique_here}-build"
    yield name
    for image in engine.api.images(name):
        engine.api.remove_image(image["Id"], force=True)


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1200}, reduced_motion="reduce")
    found = context.new_page()
    yield found
    context.close()


@pytest.fixture
def build(lab: Any, page: Page, tag: str, tmp_path: Path) -> Any:
    """Opens a notebook that builds a Dockerfile; the view."""

    def begin(name: str, dockerfile: str, before: str = "") -> Locator:
        (tmp_path / "Dockerfile").write_text(dockerfile)
        output = lab.open(page, name, CELL.format(context=str(tmp_path), tag=tag, before=before))
        return output.locator(".sl-build")

    return begin


def sleeping(seconds: str) -> list[psutil.Process]:
    """The step's process that sleeps for so long."""
    return [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", seconds]]


def wake(seconds: str) -> None:
    wait_until(lambda: sleeping(seconds), "the sleep")
    for process in sleeping(seconds):
        process.terminate()


def step(view: Locator, text: str) -> Locator:
    return view.locator("button.sl-step").filter(has_text=text)


def test_build_is_shown_live_and_after_its_end(build: Any, page: Page, accessible: Any, picture: Any) -> None:
    view = build("build-good", GOOD)
    title = view.locator(".sl-title")
    expect(title).to_have_text("Building")
    # Both stages run side by side, and each can be looked at while it runs.
    expect(view.locator("button.sl-running")).to_have_count(2)
    step(view, "printf").press("Enter")
    log = view.get_by_role("log")
    expect(log).to_contain_text("packing part 300")
    wake(LONG)
    expect(view.locator("button.sl-running")).to_have_count(1)
    wake(LONGER)
    expect(title).to_have_text("Built")
    expect(view.locator(".sl-lane button.sl-done")).to_have_count(4)
    # The static fallback is there for a page without a kernel, and is not seen beside the widget.
    fallback = page.locator("[class*=sl-fallback-]")
    expect(fallback).to_be_attached()
    expect(fallback).to_be_hidden()
    expect(step(view, "mkdir /out").locator(".sl-critical")).to_be_visible()
    graph = view.locator("svg[role=img]")
    expect(graph).to_have_attribute("aria-label", "builder → stage-2: /out/app; assets → stage-2: /assets")
    picture(view, "build-view")

    log.evaluate("box => { box.scrollTop = 0; }")
    red = log.locator(".sl-ansi-red")
    expect(red).to_have_text("red <img src=x onerror=window.hacked=1>")
    assert page.evaluate("window.hacked") is None
    assert log.locator(".sl-line-number").count() < 60
    search = view.get_by_role("searchbox")
    search.fill("part 250")
    expect(view.locator(".sl-log [role=status]")).to_have_text("1 match")
    search.press("Enter")
    expect(log.locator("mark")).to_have_text("part 250")
    accessible(page)


UNTOLD = """
from stagelens.builds import BuildTrace, Vertex
from stagelens.dockerfile import parse
from stagelens.views import BuildView
cached = {"cached": True, "started": 1.0, "completed": 1.0}
last = Vertex("a" * 64, "[stage-0 3/3] RUN two", stage=0, instruction=2, **cached)
dockerfile = parse("FROM diamol/base\\nRUN one\\nRUN two\\n")
view = BuildView()
view.finish(BuildTrace(dockerfile, (last,), "session", "sha256:0", started=1.0, completed=2.0))
view
"""


def test_no_step_waits_after_the_end_of_a_build(page: Page, lab: Any) -> None:
    """BuildKit may tell nothing of a step where all that builds on it came from the cache."""
    view = lab.open(page, "build-untold", UNTOLD).locator(".sl-build")
    expect(view.locator(".sl-title")).to_have_text("Built")
    expect(view.locator(".sl-lane")).to_contain_text("RUN one")
    expect(view.locator(".sl-lane .sl-icon", has_text="○")).to_have_count(0)


def test_time_scale_of_a_cached_build_has_distinct_marks(page: Page, lab: Any) -> None:
    quick = UNTOLD.replace("completed=2.0))", "completed=1.1))")
    view = lab.open(page, "build-quick", quick).locator(".sl-build")
    expect(view.locator(".sl-scale .sl-track span")).to_have_text(["0 ms", "25 ms", "50 ms", "75 ms"])


def test_cancel_button_cancels_while_the_cell_runs(build: Any, page: Page) -> None:
    view = build("build-cancel", ENDLESS)
    expect(view.get_by_role("log")).to_contain_text("begun")
    wait_until(lambda: sleeping(ENDLESSLY), "the step")
    view.get_by_role("button", name="Cancel").press("Enter")
    expect(view.locator(".sl-title")).to_have_text("Cancelled")
    expect(view.locator(".sl-title")).to_be_focused()  # the button has gone, and Tab goes on from here
    expect(step(view, f"sleep {ENDLESSLY}")).to_contain_text("stopped")
    expect(page.locator(".jp-OutputArea-output").last).to_contain_text("BuildCancelled")
    wait_until(lambda: not sleeping(ENDLESSLY), "the end of the step")


def test_stop_button_of_the_notebook_cancels_the_build(build: Any, page: Page) -> None:
    view = build("build-stop", ENDLESS)
    expect(view.get_by_role("log")).to_contain_text("begun")
    page.get_by_role("button", name="Interrupt the kernel").click()
    expect(view.locator(".sl-title")).to_have_text("Cancelled")
    expect(page.locator(".jp-OutputArea-output").last).to_contain_text("the operation has ended")
    wait_until(lambda: not sleeping(ENDLESSLY), "the end of the step")


def test_failed_build_shows_its_line_and_output(build: Any, page: Page) -> None:
    view = build("build-broken", BROKEN, before="import stagelens.views; stagelens.views.language('ko')")
    expect(view.locator(".sl-title")).to_have_text("실패")
    expect(view.get_by_role("alert")).to_contain_text(
        "RUN echo about to fail && exit 3 failed with exit code 3."
    )
    expect(view.get_by_role("alert")).to_contain_text("위치: ")
    expect(step(view, "exit 3")).to_have_attribute("aria-pressed", "true")
    expect(view.get_by_role("log")).to_contain_text("about to fail")
