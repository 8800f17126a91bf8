"""gRPC's wire form on HTTP/2 streams: messages with a five-byte prefix, status in the trailers.

Source: the gRPC project's "gRPC over HTTP2" description. Only what BuildKit uses: no compression, no
deadlines. Several messages may share one DATA frame, so small ones are joined before they are sent: a
build context of 10,000 files is 10,000 messages, but some 60 frames.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from google.protobuf.message import Message

from stagelens.buildkit.errors import ConnectionLost, RpcError, StreamReset
from stagelens.buildkit.http2 import Connection, Headers, Stream, header
from stagelens.buildkit.transport import Socket

OK, CANCELLED, UNKNOWN, NOT_FOUND, UNIMPLEMENTED, INTERNAL = 0, 1, 2, 5, 12, 13
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_JOIN_BYTES = 64 * 1024

M = TypeVar("M", bound=Message)
Metadata = Mapping[str, list[str]]


class RpcStream:
    """One gRPC call on a stream, seen from either side: messages as bytes, in and out."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._outgoing = bytearray()
        self._sending = threading.Lock()

    @property
    def metadata(self) -> Metadata:
        """The call's metadata: each name with its values, decoded as BuildKit encodes them."""
        return _metadata(self._stream.headers)

    def receive(self) -> Iterator[bytes]:
        """Each message of the other side until it ends its half; what waits to be sent goes out meanwhile.

        Raises
        ------
        RpcError: a message is compressed or larger than `MAX_MESSAGE_BYTES`.
        """
        buffer = bytearray()
        while True:
            while len(buffer) >= 5:
                compressed, size = struct.unpack_from(">BI", buffer)
                if compressed or size > MAX_MESSAGE_BYTES:
                    raise RpcError(UNIMPLEMENTED, "compressed or oversized gRPC message")
                if len(buffer) < 5 + size:
                    break
                message = bytes(buffer[5 : 5 + size])
                del buffer[: 5 + size]
                yield message
            self.flush()
            data = self._stream.read()
            if not data:
                return
            buffer += data

    def send(self, message: bytes, flush: bool = True) -> None:
        """Send a message; without `flush` it may wait for others to share a frame with.

        What waits is sent at the latest when `receive` has to wait for the other side.
        """
        with self._sending:
            self._outgoing += struct.pack(">BI", 0, len(message))
            self._outgoing += message
            if flush or len(self._outgoing) >= _JOIN_BYTES:
                self._flush()

    def flush(self) -> None:
        """Send what waits."""
        with self._sending:
            self._flush()

    def _flush(self) -> None:
        if self._outgoing:
            data, self._outgoing = self._outgoing, bytearray()
            self._stream.send(data)

    def cancel(self) -> None:
        """Give the call up."""
        self._stream.cancel()


Handler = Callable[[RpcStream], None]


class Server:
    """Serves gRPC methods on one accepted connection: each call runs its handler in a thread of its own."""

    def __init__(self, sock: Socket, methods: Mapping[str, Handler]) -> None:
        self._methods = {path.lower(): handler for path, handler in methods.items()}
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self.errors: list[BaseException] = []
        self._connection = Connection(sock, client_side=False, on_stream=self._accept)
        self._connection.start()

    @property
    def sent_bytes(self) -> int:
        """Bytes of DATA frames sent so far."""
        return self._connection.sent_bytes

    def close(self) -> None:
        """End the connection and wait until every handler has noticed."""
        self._connection.close()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _accept(self, stream: Stream) -> None:
        thread = threading.Thread(
            target=self._run, args=(stream,), name=f"stagelens-rpc-{stream.id}", daemon=True
        )
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _run(self, stream: Stream) -> None:
        try:
            self._answer(stream)
        except (ConnectionLost, StreamReset):
            pass  # the caller has gone: nobody is left to tell
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _answer(self, stream: Stream) -> None:
        path = (header(stream.headers, ":path") or [""])[0]
        handler = self._methods.get(path.lower())
        stream.send_headers([(":status", "200"), ("content-type", "application/grpc")])
        if handler is None:
            stream.send_headers(_status(UNIMPLEMENTED, f"unknown method {path}"), end=True)
            return
        rpc = RpcStream(stream)
        status = _status(OK, "")
        try:
            handler(rpc)
            rpc.flush()
        except (ConnectionLost, StreamReset):
            raise
        except RpcError as error:
            status = _status(error.code, error.message)
        except Exception as error:
            # Ours to tell: the caller learns a text, the session's owner the error itself.
            self.errors.append(error)
            status = _status(UNKNOWN, str(error))
        stream.send_headers(status, end=True)


class Call(RpcStream):
    """A call that we made."""

    def __init__(self, stream: Stream, path: str) -> None:
        super().__init__(stream)
        self._path = path

    def send_request(self, request: Message) -> None:
        """Send the one message of this call; an answer may come before all of it is out, an error's say."""
        with contextlib.suppress(StreamReset):
            self.send(request.SerializeToString())
            self.close_send()

    def close_send(self) -> None:
        """End our half: no more messages from us."""
        self.flush()
        self._stream.send(b"", end=True)

    def check_status(self) -> None:
        """After the last message. Raises RpcError where the status is other than OK."""
        trailers = self._stream.trailers or self._stream.headers
        code = int((header(trailers, "grpc-status") or [str(UNKNOWN)])[0])
        if code != OK:
            text = urllib.parse.unquote((header(trailers, "grpc-message") or [""])[0])
            raise RpcError(code, text, where=self._path)


class Client:
    """Makes gRPC calls on one connection that was upgraded for it."""

    def __init__(self, sock: Socket) -> None:
        self._connection = Connection(sock, client_side=True)
        self._connection.start()

    def call(self, path: str, metadata: Iterable[tuple[str, str]] = ()) -> Call:
        """Begin a call whose two sides send as many messages as they like; `cancel` it in the end."""
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *metadata,
        ]
        return Call(self._connection.open_stream(headers), path)

    def stream(self, path: str, request: Message, response: type[M]) -> Iterator[M]:
        """Call a method that takes one message and answers with a stream of them.

        Raises
        ------
        RpcError: the other side ended the call with a status other than OK.
        """
        call = self.call(path)
        try:
            call.send_request(request)
            for message in call.receive():
                yield response.FromString(message)
            call.check_status()
        finally:
            call.cancel()

    def unary(self, path: str, request: Message, response: type[M]) -> M:
        """Call a method that answers with one message."""
        answers = list(self.stream(path, request, response))
        if len(answers) != 1:
            raise RpcError(INTERNAL, f"{len(answers)} messages instead of one", where=path)
        return answers[0]

    def close(self) -> None:
        """End the connection; calls under way raise ConnectionLost."""
        self._connection.close()


def _status(code: int, message: str) -> Headers:
    headers = [("grpc-status", str(code))]
    if message:
        headers.append(("grpc-message", urllib.parse.quote(message[:4096], safe=" !#$&'()*+,/:;=?@[]")))
    return headers


def _metadata(headers: Headers) -> dict[str, list[str]]:
    """Header values by name; newer BuildKit percent-encodes them and says so in `NAME-encoded: 1`.

    Source: encodeOpts in BuildKit's session/filesync.
    """
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if not name.startswith(":"):
            found.setdefault(name, []).append(value)
    for name in [name for name in found if name.endswith("-encoded")]:
        plain = name.removesuffix("-encoded")
        if found[name] == ["1"] and plain in found:
            found[plain] = [urllib.parse.unquote_plus(value) for value in found[plain]]
    return found
