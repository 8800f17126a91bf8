"""gRPC's wire format on HTTP/2 streams: messages with a five-byte prefix, and the status in the trailers.

Source: the gRPC project's "gRPC over HTTP2". Implemented is what BuildKit uses: no compression, no deadlines.
Several messages may share one DATA frame, so small ones are joined before they are sent: a build context of
10,000 files is 10,000 messages, but about 60 frames.
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
    """One gRPC call on a stream, as seen by either side: messages as bytes in both directions."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._outgoing = bytearray()
        self._sending = threading.Lock()

    @property
    def metadata(self) -> Metadata:
        """The call's metadata: each name with its values, decoded as BuildKit encodes them."""
        return _metadata(self._stream.headers)

    def receive(self) -> Iterator[bytes]:
        """Yield each message of the other side until it ends its half; send pending messages while waiting.

        Raises
        ------
        RpcError
            If a message is compressed or larger than `MAX_MESSAGE_BYTES`.
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
        """Send a message.

        Parameters
        ----------
        message
            The serialized message.
        flush
            Whether to send at once. Otherwise the message may wait for others to share a frame with;
            `receive` sends it at the latest when it has to wait.
        """
        with self._sending:
            self._outgoing += struct.pack(">BI", 0, len(message))
            self._outgoing += message
            if flush or len(self._outgoing) >= _JOIN_BYTES:
                self._flush()

    def flush(self) -> None:
        """Send the pending messages."""
        with self._sending:
            self._flush()

    def _flush(self) -> None:
        if self._outgoing:
            data, self._outgoing = self._outgoing, bytearray()
            self._stream.send(data)

    def cancel(self) -> None:
        """Cancel the call."""
        self._stream.cancel()


Handler = Callable[[RpcStream], None]


class Server:
    """A server of gRPC methods on one accepted connection; each call runs its handler in a separate thread.

    Attributes
    ----------
    errors
        The exceptions of the handlers; the caller saw only their text.
    """

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
        """End the connection and wait for every handler."""
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
            pass  # the caller is gone
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
            # The caller sees the text only, the session's owner the exception.
            self.errors.append(error)
            status = _status(UNKNOWN, str(error))
        stream.send_headers(status, end=True)


class Call(RpcStream):
    """A call made by this side."""

    def __init__(self, stream: Stream, path: str) -> None:
        super().__init__(stream)
        self._path = path

    def send_request(self, request: Message) -> None:
        """Send the only message of this call; the answer, such as an error, may arrive before it is sent."""
        with contextlib.suppress(StreamReset):
            self.send(request.SerializeToString())
            self.close_send()

    def close_send(self) -> None:
        """End this side of the stream: no more messages follow."""
        self.flush()
        self._stream.send(b"", end=True)

    def check_status(self) -> None:
        """Check the status after the last message.

        Raises
        ------
        RpcError
            If the status is not OK.
        """
        trailers = self._stream.trailers or self._stream.headers
        code = int((header(trailers, "grpc-status") or [str(UNKNOWN)])[0])
        if code != OK:
            text = urllib.parse.unquote((header(trailers, "grpc-message") or [""])[0])
            raise RpcError(code, text, where=self._path)


class Client:
    """A client that makes gRPC calls on one upgraded connection."""

    def __init__(self, sock: Socket) -> None:
        self._connection = Connection(sock, client_side=True)
        self._connection.start()

    def call(self, path: str, metadata: Iterable[tuple[str, str]] = ()) -> Call:
        """Start a call in which both sides send any number of messages; the caller cancels it in the end.

        Parameters
        ----------
        path
            The method, as `/SERVICE/METHOD`.
        metadata
            Further headers of the request.
        """
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

        Parameters
        ----------
        path
            The method, as `/SERVICE/METHOD`.
        request
            The message to send.
        response
            The class of the answers.

        Raises
        ------
        RpcError
            If the other side ended the call with a status other than OK.
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
        """Call a method that answers with one message.

        Parameters
        ----------
        path
            The method, as `/SERVICE/METHOD`.
        request
            The message to send.
        response
            The class of the answer.

        Raises
        ------
        RpcError
            If the other side ended the call with a status other than OK, or not with one message.
        """
        answers = list(self.stream(path, request, response))
        if len(answers) != 1:
            raise RpcError(INTERNAL, f"expected one message, received {len(answers)}", where=path)
        return answers[0]

    def close(self) -> None:
        """End the connection; pending calls raise ConnectionLost."""
        self._connection.close()


def _status(code: int, message: str) -> Headers:
    headers = [("grpc-status", str(code))]
    if message:
        headers.append(("grpc-message", urllib.parse.quote(message[:4096], safe=" !#$&'()*+,/:;=?@[]")))
    return headers


def _metadata(headers: Headers) -> dict[str, list[str]]:
    """Return header values by name; newer BuildKit percent-encodes them and says so in `NAME-encoded: 1`.

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
