"""What holds for all seven widgets, side by side in one notebook: themes, widths, languages, keys, motion.

SCREENSHOTS=folder keeps pictures of all of them in both languages and at all widths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, Page, expect

from stagelens.engine import Engine

pytestmark = [pytest.mark.browser, pytest.mark.engine]

DOCKERFILE = """FROM diamol/base AS builder
WORKDIR /src
COPY main.c .
RUN mkdir -p /usr/lib/compiler /out && head -c 900000 /dev/zero > /usr/lib/compiler/cc && cp main.c /out/app
FROM diamol/base
COPY --from=builder /out/app /app
RUN chmod +x /app && rm /etc/passwd
CMD ["/app"]
"""
CELLS = (
    """
import stagelens
from stagelens_course import apps
from stagelens_course.apps.view import AppView
from stagelens.cache import read_inputs
from stagelens.engine import connect
from stagelens.snapshot.layers import read_layers
from stagelens.views import *
first = stagelens.record({context!r}, tags=[{tag!r}])
open({context!r} + "/main.c", "a").write("edited")
building = BuildView()
trace = await building.build({context!r}, tags=[{tag!r}])
""",
    "lens = stagelens.explore({context!r}, trace)\nexploring = StageExplorer(lens)\nexploring",
    """
api = connect(start=False).api
layers, base = read_layers(api, trace.image_id), read_layers(api, "diamol/base")
layering = LayerExplorer(layers, shared={{"diamol/base": base}}, name="lesson:1")
layering
""",
    "sizing = SizeCompare(lens)\nsizing",
    "asking = PredictCache(first, read_inputs({context!r}))\nasking",
    "marking = PredictCache(first, read_inputs({context!r}))\n"
    "marking.mark(stagelens.record({context!r}, tags=[{tag!r}]))",
    """
names = {{"iotd": "image-of-the-day", "accesslog": "access-log", "image-gallery": "image-gallery"}}
services = tuple(
    apps.Service(name, image, name, *state)
    for (name, image), state in zip(names.items(), (
        ("running", "healthy", "http://127.0.0.1:800"),
        ("exited", "unknown", None, "a note that is as long as notes are"),
        ("running", "unhealthy", "http://127.0.0.1:802"),
    ))
)
hops = (
    apps.Hop("image-gallery", "GET", "http://127.0.0.1:802/", 200, 100.0, 0.05, 0.05),
    apps.Hop("iotd", "GET", "http://iotd/image", 200, 100.01, 0.02, 0.015),
    apps.Hop("accesslog", "POST", "http://accesslog/access-log", None, 100.04, 0.005, None, "refused"),
)
app = AppView(apps.App(None, "nat", services, connect(start=False)), apps.RequestTrace("trace-1", hops))
app
""",
    "editing = DockerfileEditor({context!r})\nediting",
    "asking.hint()",
    "WhyView(stagelens.explain(None, first), language='ko')",
    "every = [building, exploring, layering, sizing, asking, marking, app, editing, editing.build_view]",
)
VIEWS = {"build", "stages", "layers", "sizes", "predict", "app", "editor"}
SPEAK = "for view in every: view.language = {code!r}"

# Watches where Tab leads from a view's first control on; the number of its controls.
WATCH = """(selector) => {
  const view = document.querySelector(selector);
  const controls = 'a[href], button:enabled, input:enabled, select, textarea, summary, [tabindex="0"]';
  const wanted = [...view.querySelectorAll(controls)].filter((e) => e.tabIndex >= 0 && e.checkVisibility());
  const unseen = new Set(wanted);
  const look = (e) => {
    const style = getComputedStyle(e);
    if (style.outlineStyle !== "none") unseen.delete(e);
  };
  view.addEventListener("focusin", ({target}) => look(target));
  window.missed = () => [...unseen].map((e) => e.outerHTML.slice(0, 150));
  wanted[0]?.focus({focusVisible: true});
  return wanted.length;
}"""
# Keeps what is animated from then on: the element's kind, its delay and its duration.
RECORD = """() => {
  window.played = [];
  window.animated ??= Element.prototype.animate;
  Element.prototype.animate = function (frames, {delay = 0, duration}) {
    window.played.push([this.tagName, Math.round(delay), Math.round(duration)]);
    return window.animated.call(this, frames, {delay, duration});
  };
}"""
AGAIN = "app.show_trace(apps.RequestTrace({request!r}, hops))"


@pytest.fixture(scope="module")
def page(
    browser: Browser, lab: Any, engine: Engine, tmp_path_factory: pytest.TempPathFactory, unique_here: str
) -> Iterator[Page]:
    context: Path = tmp_path_factory.mktemp("every")
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "main.c").write_text(unique_here)
    tag = f"{unique_here}-every"
    place = browser.new_context(viewport={"width": 1280, "height": 1000})
    found = place.new_page()
    try:
        lab.open(found, "every", *(cell.format(context=str(context), tag=tag) for cell in CELLS))
        expect(found.locator(".sl-editor")).to_be_visible()
        expect(found.locator(".sl-area").first).to_be_visible()
        expect(found.get_by_role("treeitem").first).to_be_visible()
        yield found
    finally:
        place.close()
        for image in engine.api.images(tag):
            engine.api.remove_image(image["Id"], force=True)


@pytest.fixture
def keep(page: Page) -> Callable[[str], None]:
    """Keeps a picture of each widget."""

    def take(name: str) -> None:
        if folder := os.environ.get("SCREENSHOTS"):
            for number, view in enumerate(page.locator(".sl[class*=sl-view-]").all()):
                view.screenshot(path=Path(folder) / f"{name}-{number}.png")

    return take


@pytest.fixture(params=["en", "ko"])
def language(page: Page, lab: Any, request: pytest.FixtureRequest) -> str:
    lab.run(page, SPEAK.format(code=request.param))
    expect(page.locator(f".sl[class*=sl-view-][lang={request.param}]")).to_have_count(9)
    return request.param


@pytest.mark.parametrize("width", [320, 1280, 3840])
def test_widgets_fit_each_screen_width(page: Page, language: str, width: int, fits: Any, keep: Any) -> None:
    fits(page, ".sl[class*=sl-view-]", width)
    keep(f"every-{language}-{width}")


def test_reasons_fit_a_phone_without_horizontal_scrolling(page: Page, fits: Any) -> None:
    reasons = page.locator(".sl-reasons")
    expect(reasons).to_have_count(2)
    fits(page, ".sl-reasons", 320)
    for each in reasons.all():
        assert each.evaluate("e => e.parentElement.scrollWidth <= e.parentElement.clientWidth")
        # The state stands above the reason, which has the whole width.
        widths = each.evaluate("e => [e.clientWidth, e.querySelector('li').lastChild.clientWidth]")
        assert widths[1] > widths[0] * 0.8


@pytest.mark.parametrize("theme", ["Dark", "Light"])
def test_axe_finds_nothing_serious_in_either_theme(
    page: Page, lab: Any, theme: str, accessible: Callable[[Page], None]
) -> None:
    lab.theme(page, theme)
    accessible(page)


def test_element_ids_are_unique_on_a_page(page: Page) -> None:
    """Else a screen reader, or an arrow's head, is led to another widget."""
    found: list[str] = page.evaluate("() => [...document.querySelectorAll('.sl [id]')].map((e) => e.id)")
    assert len(found) > 3
    assert len(found) == len(set(found))


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_each_control_is_reachable_by_tab_with_visible_focus(page: Page, name: str) -> None:
    wanted = page.evaluate(WATCH, f".sl-view-{name}")
    assert wanted
    for _ in range(wanted - 1):
        page.keyboard.press("Tab")
    assert page.evaluate("window.missed()") == []


def test_animation_follows_the_measured_times(page: Page, lab: Any) -> None:
    page.evaluate(RECORD)
    lab.run(page, AGAIN.format(request="trace-2"))
    expect(page.locator(".sl-request").get_by_text("trace-2")).to_be_visible()
    page.wait_for_function("window.played.length >= 5")
    # Of 50 ms, played in 4 s: the calls began after 0, 10 and 40 ms, and the first two took 50 and 20.
    dots = page.evaluate("window.played.filter((each) => each[0] === 'I')")
    assert [each[1:] for each in dots] == [[0, 4000], [800, 1600], [3200, 450]]
    # The services work for as long as they said; the one that gave no answer does not.
    assert len(page.evaluate("window.played.filter((each) => each[0] === 'DIV')")) == 2


def test_nothing_moves_with_reduced_motion(page: Page, lab: Any, settled: Any) -> None:
    moving = """document.getAnimations().filter(({effect}) =>
        effect.target.closest(".sl") && effect.getComputedTiming().activeDuration > 0).length"""
    lab.run(page, "building.phase = 'running'")
    expect(page.locator(".sl-view-build .sl-phase-running").first).to_be_visible()
    page.wait_for_function(f"{moving} > 0")
    page.emulate_media(reduced_motion="reduce")
    try:
        page.evaluate(RECORD)
        lab.run(page, AGAIN.format(request="trace-3"))
        expect(page.locator(".sl-request").get_by_text("trace-3")).to_be_visible()
        settled(page)
        assert page.evaluate("window.played") == []
        assert page.evaluate(moving) == 0
    finally:
        page.emulate_media(reduced_motion="no-preference")
        lab.run(page, "building.phase = 'done'")


def test_saved_page_shows_static_fallbacks_without_kernel_or_scripts(
    page: Page, lab: Any, browser: Browser, tmp_path: Path
) -> None:
    saved = lab.saved(page, "every")
    html, _ = HTMLExporter().from_notebook_node(saved)
    (tmp_path / "every.html").write_text(html)
    place = browser.new_context(java_script_enabled=False, offline=True, color_scheme="dark")
    try:
        alone = place.new_page()
        alone.goto(f"file://{tmp_path}/every.html")
        fallbacks = alone.locator(".jp-OutputArea-output .sl")
        expect(fallbacks).to_have_count(10)
        for fallback in fallbacks.all():
            expect(fallback).to_be_visible()
        expect(fallbacks.first).to_contain_text("chmod +x /app")
        if folder := os.environ.get("SCREENSHOTS"):
            alone.screenshot(path=Path(folder) / "saved-page.png", full_page=True)
    finally:
        place.close()


def test_widgets_work_in_jupyter_notebook(lab: Any, browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch AS one\nRUNN nothing\n")
    place = browser.new_context()
    try:
        page = place.new_page()
        code = f"from stagelens.views import DockerfileEditor\nDockerfileEditor({str(tmp_path)!r})"
        view = lab.open(page, "seven", code, where="notebooks").locator(".sl-editor")
        expect(view.get_by_role("button", name="line 2")).to_be_visible()
        view.get_by_role("textbox").fill("FROM scratch AS two")
        view.get_by_role("button", name="Save").press("Enter")
        expect(view.get_by_role("status").first).to_have_text("saved")
        assert (tmp_path / "Dockerfile").read_text() == "FROM scratch AS two"
    finally:
        place.close()
