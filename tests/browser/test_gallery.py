"""The whole application, built and run in a namespace, looked at in a real browser and followed by its logs.

SCREENSHOTS=folder keeps pictures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from stagelens.engine import Engine
from stagelens_course import apps

PAINTED = "Array.from(document.images).every((image) => image.complete && image.naturalWidth > 0)"

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(1200)]


@pytest.fixture
def app(engine: Engine, unique: str) -> Iterator[apps.App]:
    try:
        yield apps.up(engine, namespace=unique)
    finally:
        apps.down(engine, unique, images=True)


def visits(page: Page) -> int:
    found = re.search(r"(\d+) visits? so far", page.content())
    assert found, page.content()
    return int(found[1])


def look(browser: Browser, url: str, name: str, width: int, height: int, scheme: str) -> None:
    """The page at a size: whole, with its picture, and no wider than the window."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(url, wait_until="load")
    page.wait_for_function(PAINTED)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"gallery-{name}.png")
    context.close()


def test_the_three_applications_show_a_picture_and_count_visits(
    browser: Browser, page: Page, app: apps.App
) -> None:
    assert app.url is not None
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(app.url, wait_until="load")
    page.wait_for_function(PAINTED)
    caption = apps.fetch(app, "/image", service="iotd").body.decode()
    shown = page.locator("figcaption h1")
    expect(shown).to_be_visible()
    assert shown.inner_text() in caption
    assert page.evaluate("document.querySelector('.frame img:not(.fill)').naturalWidth") > 0
    assert all(url.startswith((app.url, "data:")) for url in asked), asked

    first = visits(page)
    page.reload(wait_until="load")
    assert visits(page) == first + 1

    for name, width, height, scheme in (
        ("phone", 320, 640, "light"),
        ("laptop", 1280, 800, "light"),
        ("laptop-dark", 1280, 800, "dark"),
        ("4k", 3840, 2160, "light"),
    ):
        look(browser, app.url, name, width, height, scheme)

    check_the_trace(app)

    # Node goes away: the page answers, still has its picture, and says what is missing.
    app.engine.api.stop(app.service("accesslog").container, timeout=5)
    answer = page.reload(wait_until="load")
    assert answer is not None
    assert answer.status == 200
    page.wait_for_function(PAINTED)
    expect(page.get_by_text("visits are not counted at the moment")).to_be_visible()
    look(browser, app.url, "no-node", 1280, 800, "light")
    lost = [hop for hop in apps.trace_request(app).hops if hop.service == "accesslog"]
    assert [(hop.status, hop.inside) for hop in lost] == [(None, None)]
    assert lost[0].error


def check_the_trace(app: apps.App) -> None:
    """One call as hops, each with what its caller and itself measured."""
    hops = apps.trace_request(app).hops
    assert hops[0].service == "image-gallery"
    assert {(hop.service, hop.method, hop.status) for hop in hops} == {
        ("image-gallery", "GET", 200),
        ("iotd", "GET", 200),
        ("accesslog", "POST", 201),
        ("accesslog", "GET", 200),
    }
    assert [hop.started for hop in hops] == sorted(hop.started for hop in hops)
    for hop in hops:
        assert hop.seconds >= 0
        assert hop.inside is not None
        assert hop.error == ""
