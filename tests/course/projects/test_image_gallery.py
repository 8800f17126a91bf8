"""The page shows the picture and counts the visit, and answers in any state of the other services."""

from __future__ import annotations

import json
import re

import pytest
from stagelens_testing.resources import wait_until

from .conftest import App, Town

pytestmark = [pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(1200)]

# A service with malformed answers; the path selects which.
STRANGE = r"""
const image = (fields) => JSON.stringify(Object.assign({url: '/p', caption: 'c', copyright: 'o'}, fields));
const bodies = {
  junk: '<html>', number: '7', list: '[1]', empty: '{}', scheme: image({url: 'file:///etc/passwd'}),
  script: image({url: 'javascript:alert(1)'}), type: image({caption: {a: 1}}),
  huge: image({caption: 'x'.repeat(1e6)}),
  hostile: image({caption: '<script>alert(1)</script>" onload="x', copyright: '{{.}} </p><b>'}),
};
require('http').createServer((req, res) => {
  const mode = req.url.split('/')[1];
  if (req.url === '/health') return res.end('ok');
  if (mode === 'error') { res.statusCode = 500; return res.end('{}'); }
  if (mode === 'slow') return;
  if (mode === 'drip') { res.write('{'); return setInterval(() => res.write(' '), 100); }
  if (mode === 'reset') return req.socket.destroy();
  if (req.url === '/p') {
    res.setHeader('Content-Type', 'text/html');
    return res.end('<script>alert(1)</script>');
  }
  res.end(bodies[mode]);
}).listen(80);
"""


@pytest.fixture(scope="module")
def strange(shared_town: Town) -> Town:
    shared_town.start("diamol/node", "strange", command=["node", "-e", STRANGE])
    return shared_town


def gallery_beside(strange: Town, mode: str) -> App:
    """Start the gallery with the malformed service in place of the other two."""
    url = f"http://strange/{mode}/"
    environment = {"IMAGE_API_URL": url, "ACCESS_API_URL": url}
    return strange.start("image-gallery", f"gallery-{mode}", environment=environment)


def lines(app: App, request_id: str, count: int = 1) -> list[dict[str, object]]:
    """Wait for `count` log lines of a request, and return them; they come after the response."""

    def found() -> list[dict[str, object]]:
        every = (json.loads(text) for text in app.logs().splitlines() if text.startswith("{"))
        return [line for line in every if line.get("request_id") == request_id]

    wait_until(lambda: len(found()) >= count, f"the log of {request_id}")
    return found()


def test_page_shows_the_picture_and_counts_visits(town: Town) -> None:
    iotd = town.start("image-of-the-day", "iotd")
    log = town.start("access-log", "accesslog")
    gallery = town.start("image-gallery", "gallery")
    image = iotd.get("/image").json()

    page = gallery.get("/", headers={"X-Request-Id": "walk-1"})
    assert page.status_code == 200
    assert image["caption"] in page.text
    assert image["copyright"] in page.text
    assert "1 visit so far" in page.text
    assert "2 visits so far" in gallery.get("/").text
    assert log.get("/stats").json()["count"] == 2

    sources = set(re.findall(r'(?:src|href)="([^"]*)"', page.text)) - {"data:,", "./"}
    assert len(sources) == 1, "one picture, and nothing from other hosts"
    source = sources.pop()
    assert source.startswith("picture?v=")
    picture = gallery.get("/" + source)
    assert picture.headers["Content-Type"] == "image/svg+xml"
    assert picture.content == iotd.get(image["url"]).content
    assert "sandbox" in picture.headers["Content-Security-Policy"]

    # The logs of all three have the same ID and fields, so that a request can be traced.
    assert [(line["method"], line["path"]) for line in lines(gallery, "walk-1")] == [("GET", "/")]
    assert [(line["method"], line["path"]) for line in lines(iotd, "walk-1")] == [("GET", "/image")]
    posted = [(line["method"], line["path"]) for line in lines(log, "walk-1", 2)]
    assert posted == [("POST", "/access-log"), ("GET", "/stats")]
    for app in (gallery, iotd, log):
        for line in lines(app, "walk-1"):
            assert {"ts", "service", "level", "request_id", "method", "path", "status", "ms"} <= line.keys()

    # The page still answers when the services end one after the other.
    iotd.engine.api.kill(iotd.name)
    page = gallery.get("/")
    assert page.status_code == 200
    assert "not on the wall yet" in page.text
    assert "3 visits so far" in page.text
    assert gallery.get("/picture").status_code == 502
    log.engine.api.kill(log.name)
    page = gallery.get("/")
    assert page.status_code == 200
    assert "visits are not counted" in page.text
    assert gallery.stop() == 0


def test_page_answers_without_the_other_services(town: Town) -> None:
    gallery = town.start("image-gallery", "gallery")
    page = gallery.get("/")
    assert page.status_code == 200
    assert "The image service could not be reached" in page.text
    assert gallery.get("/nothing").status_code == 404
    assert gallery.post("/").status_code == 405


@pytest.mark.parametrize(
    "mode",
    ["junk", "number", "list", "empty", "scheme", "script", "type", "huge", "error", "slow", "drip", "reset"],
)
def test_malformed_answers_of_both_services_show_a_notice(strange: Town, mode: str) -> None:
    gallery = gallery_beside(strange, mode)
    page = gallery.get("/")
    assert page.status_code == 200
    assert "not on the wall yet" in page.text
    assert "visits are not counted" in page.text
    assert "panic" not in gallery.logs()


def test_hostile_caption_is_escaped_and_html_is_no_picture(strange: Town) -> None:
    gallery = gallery_beside(strange, "hostile")
    page = gallery.get("/")
    assert "<script>" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert 'onload="x' not in page.text
    assert "</p><b>" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert gallery.get("/picture").status_code == 502
