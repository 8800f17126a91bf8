"""POST /access-log counts a visit, GET /stats returns the count, and no request ends the server."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest
import requests
from stagelens_testing.resources import PATIENCE, wait_until

from .conftest import App, Town

pytestmark = [pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(1200)]


@pytest.fixture
def log(town: Town) -> App:
    return town.start("access-log", "accesslog")


@pytest.fixture(scope="module")
def shared(shared_town: Town) -> App:
    """Start one service for all the malformed bodies, in any order."""
    return shared_town.start("access-log", "accesslog")


def count(log: App) -> int:
    return int(log.get("/stats").json()["count"])


def test_visits_are_stored_and_counted(log: App) -> None:
    for ip in ("10.1.2.3", "2001:db8::7", "10.1.2.3"):
        assert log.post("/access-log", json={"clientIp": ip}).status_code == 201
    assert count(log) == 3
    visits = log.get("/access-log").json()["visits"]
    assert [visit["clientIp"] for visit in visits] == ["10.1.2.3", "2001:db8::7", "10.1.2.3"]


def test_only_the_latest_visits_are_stored(log: App) -> None:
    with requests.Session() as session:
        for n in range(1050):
            session.post(log.url + "/access-log", json={"clientIp": f"10.0.{n // 250}.{n % 250}"}, timeout=30)
    assert count(log) == 1050
    visits = log.get("/access-log").json()["visits"]
    assert len(visits) == 100
    assert visits[0]["clientIp"] == "10.0.4.49"
    assert visits[99]["clientIp"] == "10.0.3.200"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"clientIp": 5}',
        b'{"clientIp": "here"}',
        b'{"__proto__": {"clientIp": "10.0.0.1"}}',
        b"\xff\xfe{}",
        b"[" * 60_000,
    ],
)
def test_malformed_body_is_refused(shared: App, body: bytes) -> None:
    before = count(shared)
    assert shared.post("/access-log", data=body).status_code == 400
    assert shared.post("/access-log", json={"clientIp": "10.0.0.1"}).status_code == 201
    assert count(shared) == before + 1


def test_body_over_64_kib_is_refused_with_and_without_a_length(log: App) -> None:
    fits = json.dumps({"clientIp": "10.0.0.1"}).ljust(64 * 1024)
    assert log.post("/access-log", data=fits).status_code == 201
    assert log.post("/access-log", data=fits + " ").status_code == 413
    assert log.post("/access-log", data=b" " * 3_000_000).status_code == 413
    assert log.post("/access-log", data=(b" " * 1000 for _ in range(500))).status_code == 413
    assert count(log) == 1


def test_client_that_hangs_up_or_sends_no_http_changes_nothing(log: App) -> None:
    address = (urlsplit(log.url).hostname, urlsplit(log.url).port)
    for data in (
        b"POST /access-log HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",
        b"\x16\x03\x01 not http\r\n\r\n",
        b"GET /stats HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + b"a" * 100_000 + b"\r\n\r\n",
    ):
        with socket.create_connection(address, timeout=PATIENCE) as raw:
            raw.sendall(data)
    assert count(log) == 0


def test_unknown_path_and_method_have_different_statuses(log: App) -> None:
    assert log.get("/constructor").status_code == 404
    refused = requests.delete(log.url + "/access-log", timeout=30)
    assert refused.status_code == 405
    assert refused.headers["Allow"] == "GET, POST"


def test_each_request_logs_one_json_line_with_the_callers_id(log: App) -> None:
    answer = log.get("/stats?x=1", headers={"X-Request-Id": "visit-42"})
    assert answer.headers["X-Request-Id"] == "visit-42"
    strange = log.get("/stats", headers={"X-Request-Id": 'a"b c'})
    assert strange.headers["X-Request-Id"].isalnum()
    # The second request's line comes after the first one's.
    wait_until(lambda: strange.headers["X-Request-Id"] in log.logs(), "the log")
    lines = [json.loads(line) for line in log.logs().splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "visit-42"]
    assert (line["service"], line["method"], line["path"], line["status"]) == (
        "access-log",
        "GET",
        "/stats",
        200,
    )
    assert line["ms"] >= 0
    assert line["ts"].endswith("Z")
    assert not [line for line in lines if line.get("path") == "/health"]


def test_sigterm_ends_the_server_cleanly_despite_open_connections(log: App) -> None:
    with requests.Session() as session:
        session.get(log.url + "/stats", timeout=30)
        address = (urlsplit(log.url).hostname, urlsplit(log.url).port)
        with socket.create_connection(address, timeout=PATIENCE) as half:
            half.sendall(b"POST /access-log HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
            assert log.stop() == 0
