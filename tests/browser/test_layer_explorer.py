"""The layer explorer in JupyterLab, on a real image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from stagelens.engine import Engine

pytestmark = [pytest.mark.browser, pytest.mark.engine]

DOCKERFILE = """FROM diamol/base
RUN mkdir /app && head -c 30000 /dev/zero > /app/big.bin && echo one > /app/version
RUN rm /app/big.bin && echo two > /app/version && touch '/app/<img src=x onerror=window.hacked=1>'
"""
CELL = """
import stagelens
from stagelens.engine import connect
from stagelens.snapshot.layers import read_layers
from stagelens.views import LayerExplorer
trace = stagelens.build({context!r}, tags=[{tag!r}])
api = connect(start=False).api
base = read_layers(api, "diamol/base")
LayerExplorer(read_layers(api, trace.image_id), shared={{"diamol/base": base}}, name="lesson:1")
"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def view(page: Page, lab: Any, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locator]:
    context = tmp_path_factory.mktemp("layers")
    (context / "Dockerfile").write_text(DOCKERFILE)
    tag = f"{tmp_path_factory.getbasetemp().parent.name}-layers".lower()
    try:
        found = lab.open(page, "layers", CELL.format(context=str(context), tag=tag)).locator(".sl-layers")
        expect(found.get_by_role("treeitem").first).to_be_visible(timeout=90_000)
        yield found
    finally:
        engine.api.remove_image(tag, force=True)


def test_layers_are_walked_by_keyboard_with_what_they_store_and_remove(view: Locator, page: Page) -> None:
    layers = view.get_by_role("radio")
    expect(layers).to_have_count(3)
    expect(layers.last).to_contain_text("shared with diamol/base")
    chosen = view.get_by_role("radio", checked=True)
    expect(chosen).to_contain_text("mkdir /app")
    chosen.press("ArrowUp")
    expect(view.get_by_role("radio", checked=True)).to_contain_text("removes 1 path")
    expect(view.get_by_role("treeitem").filter(has_text="big.bin")).to_contain_text("removed")
    expect(view.get_by_role("treeitem").filter(has_text="version")).to_contain_text("changed")
    view.get_by_role("button", name="All up to it").click()
    expect(view.get_by_role("treeitem").filter(has_text="bin/").first).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_waste_is_told_with_its_paths(view: Locator) -> None:
    expect(view.locator(".sl-facts")).to_contain_text("Wasted 30 kB")
    view.get_by_text("paths are stored in more than one layer").click()
    expect(view.locator(".sl-wasted li").first).to_contain_text("/app/big.bin")


def test_axe_finds_nothing_serious(view: Locator, page: Page, accessible: Any, picture: Any) -> None:
    picture(view, "layer-explorer")
    accessible(page)
