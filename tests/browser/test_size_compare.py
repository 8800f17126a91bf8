"""Sizes side by side in JupyterLab, of the stages of a real build."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from stagelens.engine import Engine

pytestmark = [pytest.mark.browser, pytest.mark.engine]

DOCKERFILE = """FROM diamol/base AS builder
RUN mkdir -p /usr/lib/compiler /src/node_modules/left-pad /src/out \
 && head -c 9000000 /dev/zero > /usr/lib/compiler/cc \
 && head -c 3000000 /dev/zero > /src/node_modules/left-pad/i.js \
 && head -c 900000 /dev/zero > /src/out/app
FROM diamol/base
COPY --from=builder /src/out/app /app
"""
CELL = """
import stagelens
from stagelens.views import SizeCompare
trace = stagelens.build({context!r}, tags=[{tag!r}])
SizeCompare(stagelens.explore({context!r}, trace))
"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def view(page: Page, lab: Any, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locator]:
    context = tmp_path_factory.mktemp("sizes")
    (context / "Dockerfile").write_text(DOCKERFILE)
    tag = f"{tmp_path_factory.getbasetemp().parent.name}-sizes".lower()
    try:
        found = lab.open(page, "sizes", CELL.format(context=str(context), tag=tag)).locator(".sl-sizes")
        expect(found.locator(".sl-area").first).to_be_visible(timeout=90_000)
        yield found
    finally:
        engine.api.remove_image(tag, force=True)


def test_bars_say_how_large_and_what_for(view: Locator, picture: Any) -> None:
    bars = view.get_by_role("group", name="Stages and images").get_by_role("button")
    expect(bars).to_have_count(2)
    expect(bars.first).to_contain_text("dependencies 3 MB, build tools 9 MB, app 900 kB")
    expect(bars.last).to_contain_text("times smaller")
    picture(view, "size-compare")


def test_the_chosen_ones_folders_are_a_map_and_a_table(view: Locator) -> None:
    bars = view.get_by_role("group", name="Stages and images").get_by_role("button")
    expect(view.locator(".sl-area").first).to_contain_text("/usr/lib/compiler")
    bars.last.press("Enter")
    expect(view.locator(".sl-area").first).to_contain_text("/bin/busybox")
    view.get_by_text("as a table").press("Enter")
    expect(view.get_by_role("row").filter(has_text="/app")).to_contain_text("900 kB")


def test_axe_finds_nothing_serious(view: Locator, page: Page, accessible: Callable[[Page], None]) -> None:
    accessible(page)
