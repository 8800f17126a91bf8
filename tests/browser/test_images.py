"""The layer explorer and the size comparison in JupyterLab, with one real build."""

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
RUN mkdir /app && head -c 30000 /dev/zero > /app/big.bin && echo one > /app/version
RUN rm /app/big.bin && echo two > /app/version && touch '/app/<img src=x onerror=window.hacked=1>'
COPY --from=builder /src/out/app /opt/app
"""
LAYERS = """
import stagelens
from stagelens.engine import connect
from stagelens.snapshot.layers import read_layers
from stagelens.views import LayerExplorer, SizeCompare
trace = stagelens.build({context!r}, tags=[{tag!r}])
api = connect(start=False).api
base = read_layers(api, "diamol/base")
LayerExplorer(read_layers(api, trace.image_id), shared={{"diamol/base": base}}, name="lesson:1")
"""
SIZES = "SizeCompare(stagelens.explore({context!r}, trace))"


@pytest.fixture(scope="module")
def page(
    browser: Browser, lab: Any, engine: Engine, tmp_path_factory: pytest.TempPathFactory, unique_here: str
) -> Iterator[Page]:
    context = tmp_path_factory.mktemp("images")
    (context / "Dockerfile").write_text(DOCKERFILE)
    tag = f"{unique_here}-images"
    place = browser.new_context(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
    found = place.new_page()
    try:
        cells = (cell.format(context=str(context), tag=tag) for cell in (LAYERS, SIZES))
        lab.open(found, "images", *cells)
        expect(found.locator(".sl-area").first).to_be_visible()
        yield found
    finally:
        place.close()
        engine.api.remove_image(tag, force=True)


@pytest.fixture
def layers(page: Page) -> Locator:
    return page.locator(".sl-layers")


@pytest.fixture
def sizes(page: Page) -> Locator:
    return page.locator(".sl-sizes")


def test_keyboard_selects_layers_and_their_files(layers: Locator, page: Page) -> None:
    rows = layers.get_by_role("radio")
    expect(rows).to_have_count(4)
    expect(rows.last).to_contain_text("shared with diamol/base")
    rows.nth(2).click()
    chosen = layers.get_by_role("radio", checked=True)
    expect(chosen).to_contain_text("mkdir /app")
    chosen.press("ArrowUp")
    expect(chosen).to_contain_text("removes 1 path")
    expect(layers.get_by_role("treeitem").filter(has_text="big.bin")).to_contain_text("removed")
    expect(layers.get_by_role("treeitem").filter(has_text="version")).to_contain_text("changed")
    layers.get_by_role("button", name="Up to this layer").click()
    expect(layers.get_by_role("treeitem").filter(has_text="bin/").first).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_wasted_bytes_are_shown_with_paths(layers: Locator) -> None:
    expect(layers.locator(".sl-facts")).to_contain_text("Wasted 30 kB")
    layers.get_by_text("paths are stored in more than one layer").click()
    expect(layers.locator(".sl-wasted li").first).to_contain_text("/app/big.bin")


def test_bars_show_sizes_and_categories(sizes: Locator, picture: Any) -> None:
    bars = sizes.get_by_role("group", name="Stages and images").get_by_role("button")
    expect(bars).to_have_count(2)
    expect(bars.first).to_contain_text("dependencies 3 MB, build tools 9 MB, app 900 kB")
    expect(bars.last).to_contain_text("times smaller")
    picture(sizes, "size-compare")


def test_folders_of_the_selected_stage_are_a_map_and_a_table(sizes: Locator) -> None:
    bars = sizes.get_by_role("group", name="Stages and images").get_by_role("button")
    bars.first.press("Enter")
    expect(sizes.locator(".sl-area").first).to_contain_text("/usr/lib/compiler")
    bars.last.press("Enter")
    expect(sizes.locator(".sl-area").first).to_contain_text("/bin/busybox")
    sizes.get_by_text("as a table").press("Enter")
    expect(sizes.get_by_role("row").filter(has_text="/opt/app")).to_contain_text("900 kB")


def test_axe_finds_nothing_serious(
    layers: Locator, page: Page, accessible: Callable[[Page], None], picture: Any
) -> None:
    picture(layers, "layer-explorer")
    accessible(page)
