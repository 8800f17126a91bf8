"""Requests to a Unix socket with the standard library alone."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from stagelens.engine_socket import EngineSocket

SECONDS = 20.0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        body = b'{"Id": "a b"}' if self.path == "/v1.41/images/a%20b/json" else b'{"message": "no"}'
        self.send_response(200 if b"Id" in body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (self.path.encode(), b"second"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if "cut" in self.path:
            self.close_connection = True
        elif "wait" in self.path:
            self.rfile.read(1)  # until the client ends the connection
        else:
            self.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineSocket]:
    with ThreadingUnixStreamServer(str(tmp_path / "s"), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield EngineSocket(f"unix://{tmp_path}/s", "1.41")
        server.shutdown()


def test_get_returns_the_json_value_or_none(engine: EngineSocket) -> None:
    assert engine.get("/images/a%20b/json", SECONDS) == {"Id": "a b"}
    assert engine.get("/images/none/json", SECONDS) is None


def test_post_repeats_a_parameter_that_is_a_list(engine: EngineSocket) -> None:
    answer = engine.post("/build", {"t": ["a:1", "b"], "rm": "1"}, {}, SECONDS, SECONDS)
    assert b"".join(answer.chunks()) == b"/v1.41/build?t=a%3A1&t=b&rm=1second"
    assert "transfer-encoding" in answer.headers
    answer.close()


def test_answer_that_is_cut_is_an_error(engine: EngineSocket) -> None:
    answer = engine.post("/build", {"x": "cut"}, {}, SECONDS, SECONDS)
    with pytest.raises(http.client.HTTPException):
        list(answer.chunks())
    answer.close()


def test_reader_can_be_woken(engine: EngineSocket) -> None:
    answer = engine.post("/build", {"x": "wait"}, {}, SECONDS, None)
    pieces = answer.chunks()
    assert next(pieces)
    threading.Timer(0.1, answer.wake_reader).start()
    with pytest.raises((http.client.HTTPException, OSError)):
        list(pieces)
    answer.close()


def test_missing_socket_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        EngineSocket(f"unix://{tmp_path}/none").get("/version", SECONDS)


def test_only_unix_sockets_are_supported() -> None:
    assert EngineSocket.supports("unix:///run/docker.sock")
    assert not EngineSocket.supports("tcp://127.0.0.1:2375")
