"""A proxy in front of an engine's socket that cuts connections."""

from __future__ import annotations

import selectors
import socket
import threading
from pathlib import Path


class CuttingProxy:
    """A proxy that cuts every connection after `limit` bytes in total, or when `cut` is called.

    A request whose path ends in `refuse` is answered with 403 instead, as some proxies do.
    """

    def __init__(self, path: Path, engine: str, limit: int = 1 << 62, refuse: bytes = b"") -> None:
        self._engine = engine
        self._left = limit
        self._refuse = refuse
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="cutting-proxy", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            selector.register(self._stopped, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._stopped:
                        if not self._stopped.recv(1):
                            return
                        self._left = 0
                        self._cut(selector, *self._peers)
                    if key.fileobj is self._listening:
                        self._accept(selector)
                    elif key.fileobj in self._peers:
                        self._forward(selector, key.fileobj)  # pyright: ignore[reportArgumentType]

    def _accept(self, selector: selectors.BaseSelector) -> None:
        near, _ = self._listening.accept()
        far = socket.socket(socket.AF_UNIX)
        far.connect(self._engine)
        for end, peer in ((near, far), (far, near)):
            self._peers[end] = peer
            selector.register(end, selectors.EVENT_READ)

    def _forward(self, selector: selectors.BaseSelector, end: socket.socket) -> None:
        data = b""
        if self._left > 0:
            try:
                data = end.recv(min(65536, self._left))
                if self._refuse and self._refuse in data.partition(b" HTTP/1.1\r\n")[0][-len(self._refuse) :]:
                    end.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                    data = b""
                self._peers[end].sendall(data)
            except OSError:
                data = b""
        self._left -= len(data)
        if not data or self._left <= 0:
            self._cut(selector, end, self._peers[end])

    def _cut(self, selector: selectors.BaseSelector, *ends: socket.socket) -> None:
        for end in ends:
            selector.unregister(end)
            del self._peers[end]
            end.close()

    def cut(self) -> None:
        """Cut all connections, and later ones at once."""
        self._stop.send(b"!")

    def close(self) -> None:
        self._stop.close()
        self._thread.join()
        for end in (*self._peers, self._listening, self._stopped):
            end.close()
