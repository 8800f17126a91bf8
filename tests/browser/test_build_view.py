"""The build view in JupyterLab, on real builds: followed live, cancelled, interrupted, failed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from stagelens.engine import Engine

pytestmark = [pytest.mark.browser, pytest.mark.engine]

# Both sleep for a number of seconds that no other program does, so that they can be found.
GOOD = r"""FROM diamol/base AS builder
RUN mkdir /out && echo app > /out/app && sleep 3.1415
FROM diamol/base AS assets
RUN printf '\033[31mred <img src=x onerror=window.hacked=1>\033[0m\n' && \
    for n in $(seq 300); do echo "packing part $n"; done && mkdir /assets && sleep 2.7182
FROM diamol/base
COPY --from=builder /out/app /app
COPY --from=assets /assets /assets
CMD ["/app"]
"""
ENDLESS = "FROM diamol/base\nRUN echo begun && sleep 31415.9\n"
BROKEN = "FROM diamol/base\nRUN echo about to fail && exit 3\n"
CELL = """
from stagelens.views import BuildView
{before}
trace = await BuildView().build({context!r}, tags=[{tag!r}], no_cache=True)
"""


@pytest.fixture(scope="module")
def tag(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name = f"{tmp_path_factory.getbasetemp().parent.name}-build".lower()
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


def sleeping(seconds: str) -> bool:
    return any(process.info["cmdline"] == ["sleep", seconds] for process in psutil.process_iter(["cmdline"]))


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def step(view: Locator, text: str) -> Locator:
    return view.locator("button.sl-step").filter(has_text=text)


def test_a_build_is_followed_live_then_read(build: Any, page: Page, accessible: Any, picture: Any) -> None:
    view = build("build-good", GOOD)
    title = view.locator(".sl-title")
    expect(title).to_have_text("Building")
    # Both stages run side by side, and each can be looked at while it runs.
    expect(view.locator("button.sl-running")).to_have_count(2, timeout=60_000)
    step(view, "printf").press("Enter")
    log = view.get_by_role("log")
    expect(log).to_contain_text("packing part 300")
    expect(title).to_have_text("Built")
    expect(view.locator(".sl-lane button.sl-done")).to_have_count(4)
    # The static twin is there for a page without a kernel, and is not seen beside the widget.
    twin = page.locator("[class*=sl-twin-]")
    expect(twin).to_be_attached()
    expect(twin).to_be_hidden()
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


def test_cancel_stops_the_build_in_the_engine_while_its_cell_runs(build: Any, page: Page) -> None:
    view = build("build-cancel", ENDLESS)
    expect(view.get_by_role("log")).to_contain_text("begun", timeout=60_000)
    wait_until(lambda: sleeping("31415.9"))
    view.get_by_role("button", name="Cancel").click()
    expect(view.locator(".sl-title")).to_have_text("Cancelled")
    expect(step(view, "sleep 31415.9")).to_contain_text("stopped")
    expect(page.locator(".jp-OutputArea-output").last).to_contain_text("BuildCancelled")
    wait_until(lambda: not sleeping("31415.9"))


def test_the_notebooks_stop_button_stops_it_too(build: Any, page: Page) -> None:
    view = build("build-stop", ENDLESS)
    expect(view.get_by_role("log")).to_contain_text("begun", timeout=60_000)
    page.get_by_role("button", name="Interrupt the kernel").click()
    expect(view.locator(".sl-title")).to_have_text("Cancelled")
    expect(page.locator(".jp-OutputArea-output").last).to_contain_text("KeyboardInterrupt")
    wait_until(lambda: not sleeping("31415.9"))


def test_a_failed_build_says_where_and_shows_what_was_printed(build: Any, page: Page) -> None:
    view = build("build-broken", BROKEN, before="import stagelens.views; stagelens.views.language('ko')")
    expect(view.locator(".sl-title")).to_have_text("실패", timeout=60_000)
    expect(view.get_by_role("alert")).to_contain_text(
        "RUN echo about to fail && exit 3 failed with exit code 3."
    )
    expect(view.get_by_role("alert")).to_contain_text("위치: ")
    expect(step(view, "exit 3")).to_have_attribute("aria-pressed", "true")
    expect(view.get_by_role("log")).to_contain_text("about to fail")
