"""GET /image returns today's picture: NASA's if it is available, else one from the catalog."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import pytest
from stagelens_testing.resources import wait_until

from stagelens.engine import Engine

from .conftest import LABEL, App, Town, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(1200)]

# A service in place of NASA's: it answers /good, /video and /junk, and never ends /slow.
NASA = r"""
const answers = {
  '/good': JSON.stringify({
    media_type: 'image', title: 'A <b>nebula</b>', url: 'https://example.org/n.jpg', copyright: 'Ann\nB'}),
  '/video': JSON.stringify({media_type: 'video', title: 'x', url: 'https://example.org/v'}),
  '/junk': '<html>' + 'x'.repeat(1e6),
};
require('http').createServer((req, res) => {
  const path = req.url.split('?')[0];
  console.log(req.url);
  if (path === '/slow') { res.writeHead(200); res.write('{'); return; }
  res.end(answers[path] || '{}');
}).listen(80);
"""


def start(town: Town, path: str | None = None) -> App:
    if path is None:
        return town.start("image-of-the-day", "iotd")
    town.start("diamol/node", "nasa", command=["node", "-e", NASA])
    environment = {"NASA_API_URL": f"http://nasa{path}", "NASA_API_KEY": "secret-key"}
    return town.start("image-of-the-day", "iotd", environment=environment)


def test_service_serves_the_catalogues_picture(town: Town) -> None:
    iotd = start(town)
    answer = iotd.get("/image", headers={"X-Request-Id": "day-1"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-Id"] == "day-1"
    image = answer.json()
    assert list(image) == ["url", "caption", "copyright"]
    assert all(image.values())
    picture = iotd.get(image["url"])
    assert picture.status_code == 200
    assert picture.headers["Content-Type"] == "image/svg+xml"
    assert picture.text.startswith("<svg")
    assert iotd.get("/nothing").status_code == 404
    assert iotd.get("/image").json() == image

    wait_until(lambda: '"day-1"' in iotd.logs(), "the log of the request")
    line = next(json.loads(text) for text in iotd.logs().splitlines() if '"day-1"' in text)
    assert (line["service"], line["request_id"]) == ("image-of-the-day", "day-1")
    assert (line["method"], line["path"], line["status"]) == ("GET", "/image", 200)
    assert line["ms"] >= 0
    assert line["ts"].endswith("Z")
    assert iotd.stop() == 143, "ended by SIGTERM, not by SIGKILL"


def test_nasas_picture_is_requested_once(town: Town) -> None:
    iotd = start(town, "/good")
    wait_for(lambda: "example.org" in iotd.get("/image").text, iotd)
    image = iotd.get("/image").json()
    assert image == {"url": "https://example.org/n.jpg", "caption": "A <b>nebula</b>", "copyright": "Ann B"}
    nasa = iotd.engine.api.logs(iotd.name.replace("iotd", "nasa")).decode()
    assert nasa.count("/good?api_key=secret-key") == 1


@pytest.mark.parametrize("path", ["/video", "/junk", "/slow"])
def test_catalog_is_the_fallback_and_the_key_is_not_logged(town: Town, path: str) -> None:
    iotd = start(town, path)
    assert iotd.get("/image").json()["url"].startswith("/pictures/")
    wait_for(lambda: "NASA gave no picture" in iotd.logs(), iotd)
    assert "secret-key" not in iotd.logs()


def test_classes_are_compiled_for_java_11(engine: Engine, images: dict[str, str]) -> None:
    container = engine.api.create_container(images["image-of-the-day"], labels={LABEL: "classes"})
    try:
        stream, _ = engine.api.get_archive(container, "/app/iotd-service-0.1.0.jar")
        packed = io.BytesIO(b"".join(stream))
    finally:
        engine.api.remove_container(container)
    with tarfile.open(fileobj=packed) as tar:
        jar = tar.extractfile("iotd-service-0.1.0.jar")
        assert jar is not None
        with zipfile.ZipFile(io.BytesIO(jar.read())) as archive:
            ours = [name for name in archive.namelist() if name.startswith("BOOT-INF/classes/stagelens/")]
            versions = {archive.read(name)[6:8] for name in ours if name.endswith(".class")}
    # Java Virtual Machine Specification, table 4.1-A: 55 is Java 11's.
    assert versions == {(55).to_bytes(2, "big")}
