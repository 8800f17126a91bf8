"""The stage explorer in JupyterLab, with a real build and with a tree of 100,000 files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, WebSocket, expect

from stagelens.engine import Engine

pytestmark = [pytest.mark.browser, pytest.mark.engine]

DOCKERFILE = r"""FROM diamol/base AS builder
RUN mkdir -p /out/doc && echo 'Building...' > /out/build.txt && echo left > /out/object.o
RUN cd /out && touch '<img src=x onerror=window.hacked=1>' "$(printf 'two\nlines')" \
 "$(printf 'gpj\342\200\256exe')"
FROM diamol/base AS tester
COPY --from=builder /out/build.txt /build.txt
RUN printf 'Testing <script>window.hacked=1</script>\033[31m\n' >> /build.txt
FROM diamol/base
COPY --from=tester /build.txt /build.txt
CMD cat /build.txt
"""
BUILD = """
import stagelens
from stagelens.views import StageExplorer
trace = stagelens.build({context!r}, tags=[{tag!r}])
lens = stagelens.explore({context!r}, trace)
StageExplorer(lens)
"""
LARGE = """
from dataclasses import replace
from stagelens.snapshot import Entry, FileTable, StageFiles
wide = [Entry(f"wide/file-{n:05}.txt", "file", size=n) for n in range(50_000)]
deep = [Entry("src", "dir"), *(Entry(f"src/p{n % 500}/file-{n}.c", "file", size=n) for n in range(50_000))]
long = [Entry("long/" + "n" * 4091, "file")]
table = FileTable.from_entries([Entry("wide", "dir"), *wide, *deep, Entry("long", "dir"), *long])
stages = tuple(StageFiles(each.stage, (table,) * len(each.tables)) for each in lens.stages)
StageExplorer(replace(lens, stages=stages))
"""


class Traffic:
    """The messages between the page and the kernels."""

    def __init__(self, page: Page) -> None:
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        page.on("websocket", self._follow)

    def _follow(self, socket: WebSocket) -> None:
        socket.on("framesent", lambda data: self.sent.append(_bytes(data)))
        socket.on("framereceived", lambda data: self.received.append(_bytes(data)))


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _with(sign: bytes, messages: list[bytes]) -> int:
    return sum(sign in message for message in messages)


@pytest.fixture(scope="module")
def notebook(
    browser: Browser, lab: Any, engine: Engine, tmp_path_factory: pytest.TempPathFactory, unique_here: str
) -> Iterator[tuple[Page, Traffic]]:
    context: Path = tmp_path_factory.mktemp("context")
    (context / "Dockerfile").write_text(DOCKERFILE)
    tag = f"{unique_here}-explorer"
    place = browser.new_context(viewport={"width": 1280, "height": 1200}, reduced_motion="reduce")
    page = place.new_page()
    traffic = Traffic(page)
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    try:
        lab.open(page, "explorer", BUILD.format(context=str(context), tag=tag), LARGE)
        expect(page.get_by_role("tree")).to_have_count(2)
        yield page, traffic
    finally:
        place.close()
        engine.api.remove_image(tag, force=True)


@pytest.fixture
def page(notebook: tuple[Page, Traffic]) -> Page:
    return notebook[0]


@pytest.fixture
def build(page: Page) -> Locator:
    found = page.locator(".sl-explorer").first
    found.get_by_label("Compare with").select_option("")
    found.get_by_role("searchbox").fill("")
    found.get_by_role("button", name="All files").click()
    return found


def stage(view: Locator, name: str) -> None:
    view.get_by_role("group", name="Stage").get_by_role("button", name=name).click()


def row(view: Locator, name: str) -> Locator:
    return view.get_by_role("treeitem").filter(has=view.page.locator(".sl-name", has_text=name)).first


def test_keyboard_moves_the_slider_through_a_stage(build: Locator) -> None:
    stage(build, "tester")
    slider = build.get_by_role("slider", name="Instruction")
    expect(row(build, "build.txt")).to_contain_text("changed")
    slider.press("ArrowLeft")
    expect(row(build, "build.txt")).to_contain_text("added")
    expect(slider).to_have_attribute(
        "aria-valuetext", "line 6: COPY --from=builder /out/build.txt /build.txt"
    )


def test_keyboard_opens_and_closes_folders(build: Locator) -> None:
    stage(build, "builder")
    tree = build.get_by_role("tree")
    expect(tree).to_have_attribute("aria-busy", "false")
    tree.press("Home")
    folder = tree.locator(".sl-cursor")
    expect(folder).to_have_attribute("aria-expanded", "false")
    tree.press("ArrowRight")
    expect(folder).to_have_attribute("aria-expanded", "true")
    tree.press("ArrowRight")
    expect(folder).to_have_attribute("aria-level", "2")
    tree.press("ArrowLeft")
    tree.press("ArrowLeft")
    expect(folder).to_have_attribute("aria-expanded", "false")


def test_keys_pressed_before_an_answer_act_on_its_rows(build: Locator) -> None:
    stage(build, "tester")
    expect(row(build, "build.txt")).to_have_attribute("aria-level", "1")
    tree = build.get_by_role("tree")
    tree.press("End")
    # As soon as the tree is busy, which is before any answer can be there.
    pressed = tree.evaluate(
        """(tree) => new Promise((done) => {
            new MutationObserver((_, observer) => {
                observer.disconnect();
                const busy = tree.getAttribute("aria-busy");
                for (const key of ["Home", "ArrowRight", "ArrowRight"])
                    tree.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
                done(busy);
            }).observe(tree, {attributeFilter: ["aria-busy"]});
            const stages = [...tree.closest(".sl-explorer").querySelectorAll(".sl-stage")];
            stages.find((each) => each.textContent.startsWith("builder")).click();
        })"""
    )
    assert pressed == "true"
    expect(tree.locator(".sl-cursor")).to_have_attribute("aria-level", "2")
    tree.press("ArrowLeft")
    tree.press("ArrowLeft")
    expect(tree.locator(".sl-cursor")).to_have_attribute("aria-expanded", "false")


def test_file_shows_content_and_route_to_the_final_image(build: Locator) -> None:
    stage(build, "tester")
    row(build, "build.txt").click()
    file = build.get_by_role("region", name="File")
    content = file.locator(".sl-content")
    expect(content).to_contain_text("Building...")
    expect(content.locator(".sl-plus")).to_contain_text("Testing <script>window.hacked=1</script>\\u{1b}[31m")
    way = file.get_by_role("list", name="Route of this file through the stages").get_by_role("button")
    expect(way).to_have_count(4)
    expect(way.first).to_contain_text("builder")
    expect(way.last).to_contain_text("final image")
    way.first.click()
    expect(build.get_by_role("group", name="Stage").get_by_role("button", pressed=True)).to_contain_text(
        "builder"
    )
    expect(content).to_contain_text("Building...")
    expect(content).not_to_contain_text("Testing")


def test_rows_of_an_earlier_point_cannot_be_selected(build: Locator, page: Page) -> None:
    stage(build, "builder")
    build.get_by_role("searchbox").fill("build.txt")
    expect(row(build, "build.txt")).to_have_attribute("aria-level", "2")
    # Chosen at once after the stage: the old rows are still there, and must not count.
    build.get_by_role("searchbox").fill("")
    expect(build.locator(".sl-tree")).to_have_attribute("aria-busy", "false")
    page.evaluate(
        """() => {
            const view = document.querySelector(".sl-explorer");
            const stages = [...view.querySelectorAll(".sl-stage")];
            stages.find((each) => each.textContent.startsWith("tester")).click();
        }"""
    )
    row(build, "build.txt").click()
    expect(build.get_by_role("region", name="File").locator(".sl-path").first).to_have_text("/build.txt")


@pytest.mark.parametrize("key", ["Enter", "Escape"])
def test_keyboard_closes_a_file_and_returns_to_the_tree(build: Locator, key: str) -> None:
    stage(build, "tester")
    row(build, "build.txt").click()
    file = build.get_by_role("region", name="File")
    file.get_by_role("button", name="Close the file").press(key)
    expect(file).to_have_count(0)
    expect(build.get_by_role("tree")).to_be_focused()


def test_left_behind_files_are_shown_with_sizes(build: Locator) -> None:
    stage(build, "builder")
    build.get_by_role("button", name="Left behind").click()
    expect(row(build, "object.o")).to_be_visible()
    expect(build.locator(".sl-name", has_text="build.txt")).to_have_count(0)
    expect(build.get_by_role("status")).to_contain_text("Not in the final image: ")


def test_two_stages_are_compared_and_filtered(build: Locator) -> None:
    stage(build, "stage-2")
    build.get_by_label("Compare with").select_option("[0,0,2]")
    expect(row(build, "out")).to_contain_text("removed")
    build.get_by_role("searchbox").fill("*.o")
    expect(build.locator(".sl-name", has_text="object.o")).to_have_count(1)
    expect(build.locator(".sl-name", has_text="build.txt")).to_have_count(0)


def test_hostile_names_and_contents_are_shown_as_text(build: Locator, page: Page) -> None:
    stage(build, "builder")
    build.get_by_role("searchbox").fill("/out/")
    for name in ("<img src=x onerror=window.hacked=1>", "two\\u{a}lines", "gpj\\u{202e}exe"):
        expect(row(build, name)).to_be_visible()
    assert page.locator(".sl img, .sl script").count() == 0
    assert page.evaluate("window.hacked") is None


def test_folder_of_50000_files_needs_one_request_and_few_rows(notebook: tuple[Page, Traffic]) -> None:
    page, traffic = notebook
    large = page.locator(".sl-explorer").last
    expect(row(large, "wide")).to_be_visible()
    row(large, "wide").click()
    expect(large.locator(".sl-name", has_text="file-00000.txt")).to_be_visible()
    tree = large.get_by_role("tree")
    tree.press("End")
    last = large.locator(".sl-name", has_text="file-49999.txt")
    expect(last).to_be_visible()
    expect(large.locator(".sl-cursor")).to_have_attribute("aria-setsize", "50000")
    assert large.get_by_role("treeitem").count() < 60
    assert _with(b'"paths":["wide"]', traffic.sent) == 1
    assert _with(b"file-00000.txt", traffic.received) == _with(b"file-49999.txt", traffic.received) == 1
    large.get_by_role("searchbox").fill("file-4242")
    expect(large.get_by_role("status")).to_contain_text("21 entries")


def test_axe_finds_nothing_serious(build: Locator, page: Page, accessible: Any, picture: Any) -> None:
    stage(build, "tester")
    row(build, "build.txt").click()
    expect(build.locator(".sl-content")).to_be_visible()
    picture(build, "stage-explorer")
    accessible(page)


@pytest.mark.parametrize("width", [320, 3840])
def test_explorer_fits_each_screen_width(build: Locator, page: Page, fits: Any, width: int) -> None:
    stage(build, "tester")
    row(build, "build.txt").click()
    route = build.locator(".sl-route")
    expect(route.get_by_role("listitem")).not_to_have_count(0)
    try:
        fits(page, ".sl-explorer", width)
        # The arrows of a file's way are no elements: where one sticks out there is something to scroll to.
        assert route.evaluate("way => way.scrollWidth <= way.clientWidth")
    finally:
        page.set_viewport_size({"width": 1280, "height": 1200})
