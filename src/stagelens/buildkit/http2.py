"""One HTTP/2 connection, either side of it, on any blocking socket.

`h2` holds the protocol's state and does no I/O; this module adds a socket, one reading thread, and flow
control that blocks the sender. It uses threads and not asyncio: a TLS socket, an SSH channel and a Windows
pipe have no asyncio transport, and a notebook's event loop stays out of it.

Backpressure: received data is acknowledged when its reader takes it, so an unread stream costs at most one
window (`_WINDOW`); data to send waits for the peer's window.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from stagelens.buildkit.errors import ConnectionLost, StreamReset
from stagelens.buildkit.transport import Socket, shut

Headers = list[tuple[str, str]]

_WINDOW = 4 * 1024 * 1024
_READ_SIZE = 256 * 1024


class Stream:
    """One HTTP/2 stream: headers once, bytes in both directions, trailers at the end."""

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self._connection = connection
        self.id = stream_id
        self.headers: Headers = []
        self.trailers: Headers = []
        self.received_headers = threading.Event()
        self._chunks: list[tuple[bytes, int]] = []
        self._ended = False
        self._reset: StreamReset | ConnectionLost | None = None

    def read(self) -> bytes:
        """Wait for data, and return all that has arrived; b"" at the end.

        Raises
        ------
        StreamReset
            If the other side ended the stream.
        ConnectionLost
            If the connection ended.
        """
        with self._connection.changed:
            while not self._chunks and not self._ended and self._reset is None:
                self._connection.changed.wait()
            if not self._chunks:
                if self._reset is not None:
                    raise self._reset
                return b""
            data = b"".join(chunk for chunk, _ in self._chunks)
            counted = sum(count for _, count in self._chunks)
            self._chunks.clear()
        self._connection.acknowledge(self.id, counted)
        return data

    def wait_headers(self) -> Headers:
        """Wait for the other side's headers."""
        self.received_headers.wait()
        if not self.headers and self._reset is not None:
            raise self._reset
        return self.headers

    def send_headers(self, headers: Headers, end: bool = False) -> None:
        """Send headers, or trailers with `end`."""
        self._connection.send_headers(self.id, headers, end)

    def send(self, data: bytes | bytearray, end: bool = False) -> None:
        """Send bytes, and wait for the other side's window; `end` closes this half."""
        self._connection.send_data(self, data, end)

    def cancel(self) -> None:
        """Cancel the stream in any state."""
        self._connection.reset(self.id)

    def raise_if_reset(self) -> None:
        """Raise the error that ended this stream, if any."""
        if self._reset is not None:
            raise self._reset

    def deliver(self, event: h2.events.Event) -> None:
        """Handle an event; the reading thread calls this with the connection's lock held."""
        match event:
            case h2.events.DataReceived():
                if event.data:
                    self._chunks.append((event.data, event.flow_controlled_length or 0))
            case h2.events.RequestReceived() | h2.events.ResponseReceived():
                self.headers = cast(Headers, list(event.headers or []))
                self.received_headers.set()
            case h2.events.TrailersReceived():
                self.trailers = cast(Headers, list(event.headers or []))
            case h2.events.StreamEnded():
                self._ended = True
                self.received_headers.set()
            case h2.events.StreamReset(error_code=h2.errors.ErrorCodes.NO_ERROR) if self._ended:
                pass  # the server has answered and needs no more of the request (RFC 9113, 8.1)
            case h2.events.StreamReset():
                self.fail(StreamReset("The other side cancelled the stream."))
            case _:
                pass

    def fail(self, error: StreamReset | ConnectionLost) -> None:
        """End the stream with `error` for every thread that waits for it."""
        self._reset = self._reset or error
        self.received_headers.set()

    @property
    def is_open(self) -> bool:
        """Whether bytes can still be sent."""
        return self._reset is None


class Connection:
    """The shared state of all streams.

    Parameters
    ----------
    sock
        A connected socket.
    client_side
        Whether this side is the HTTP/2 client.
    on_stream
        Called with each new stream, in the reading thread.
    """

    def __init__(
        self, sock: Socket, *, client_side: bool, on_stream: Callable[[Stream], None] | None = None
    ) -> None:
        self._sock = sock
        self._on_stream = on_stream
        # The engine does not check :authority: gRPC over a private pipe sends "localhost".
        config = h2.config.H2Configuration(
            client_side=client_side,
            header_encoding="utf-8",
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
        )
        self._h2 = h2.connection.H2Connection(config)
        self.changed = threading.Condition(threading.Lock())
        self._writing = threading.Lock()
        self._queued: list[bytes] = []
        self._streams: dict[int, Stream] = {}
        self._closed = False
        self.error: ConnectionLost | None = None
        self.sent_bytes = 0
        self._reader = threading.Thread(target=self._read_loop, name="stagelens-http2", daemon=True)

    def start(self) -> None:
        """Send the preface and start to read."""
        with self.changed:
            self._h2.initiate_connection()
            self._h2.update_settings(
                {
                    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                    h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 256,
                }
            )
            self._h2.increment_flow_control_window(_WINDOW * 4)
        self._flush()
        self._reader.start()

    def open_stream(self, headers: Headers, end: bool = False) -> Stream:
        """Start a request (client side)."""
        with self.changed:
            self._check_open()
            stream = Stream(self, self._h2.get_next_available_stream_id())
            self._streams[stream.id] = stream
            self._h2.send_headers(stream.id, headers, end_stream=end)
        self._flush()
        return stream

    def send_headers(self, stream_id: int, headers: Headers, end: bool) -> None:
        """Queue a HEADERS frame."""
        with self.changed:
            self._check_open()
            try:
                self._h2.send_headers(stream_id, headers, end_stream=end)
            except h2.exceptions.StreamClosedError as error:
                raise StreamReset("The stream is closed.") from error
            if end:
                self._streams.pop(stream_id, None)
        self._flush()

    def send_data(self, stream: Stream, data: bytes | bytearray, end: bool) -> None:
        """Send `data` in frames as the windows allow; block while they are empty."""
        view = memoryview(data)
        while view or end:
            with self.changed:
                allowed = self._wait_for_window(stream) if view else 1
                chunk, view = view[:allowed], view[allowed:]
                last = end and not view
                frame = self._h2.max_outbound_frame_size
                try:
                    for start in range(0, max(len(chunk), 1), frame):
                        piece = chunk[start : start + frame]
                        final = last and start + frame >= len(chunk)
                        self._h2.send_data(stream.id, bytes(piece), end_stream=final)
                except h2.exceptions.StreamClosedError as error:
                    raise StreamReset("The stream is closed.") from error
                self.sent_bytes += len(chunk)
            self._flush()
            if last:
                return

    def _wait_for_window(self, stream: Stream) -> int:
        while True:
            self._check_open()
            stream.raise_if_reset()
            try:
                allowed = self._h2.local_flow_control_window(stream.id)
            except h2.exceptions.StreamClosedError as error:
                raise StreamReset("The stream is closed.") from error
            if allowed > 0:
                return allowed
            self.changed.wait()

    def acknowledge(self, stream_id: int, count: int) -> None:
        """Open the windows again by `count` bytes that a reader has taken."""
        if not count:
            return
        with self.changed:
            if self._closed:
                return
            try:
                self._h2.acknowledge_received_data(count, stream_id)
            except h2.exceptions.StreamClosedError:
                self._h2.increment_flow_control_window(count)
        self._flush()

    def reset(self, stream_id: int) -> None:
        """Send RST_STREAM(CANCEL) unless the stream is already closed."""
        with self.changed:
            stream = self._streams.pop(stream_id, None)
            if stream is None or self._closed:
                return
            stream.fail(StreamReset("The stream was cancelled."))
            self.changed.notify_all()
            try:
                self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
            except h2.exceptions.StreamClosedError:
                return
        # If the connection has ended, the stream has, too.
        self._flush(quietly=True)

    def close(self) -> None:
        """End the connection and wait for the reading thread. A second call does nothing."""
        with self.changed:
            if not self._closed:
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    self._h2.close_connection()
            # Without releasing the lock: a thread that waits for it to send must find the connection ended.
            self._end_streams(ConnectionLost("The connection was closed."))
        self._flush(quietly=True)
        shut(self._sock)
        if self._reader.is_alive() and threading.current_thread() is not self._reader:
            self._reader.join()

    def _check_open(self) -> None:
        if self._closed:
            raise self.error or ConnectionLost("The connection is closed.")

    def _end(self, error: ConnectionLost) -> None:
        with self.changed:
            self._end_streams(error)

    def _end_streams(self, error: ConnectionLost) -> None:
        """Fail all current and future calls; the caller holds the lock."""
        if not self._closed:
            self._closed = True
            self.error = error
        for stream in self._streams.values():
            stream.fail(error)
        self._streams.clear()
        self.changed.notify_all()

    def _flush(self, quietly: bool = False) -> None:
        """Write the output of h2.

        One thread writes at a time, including what other threads queue meanwhile, so that a slow `sendall` of
        another thread never delays the reading thread.
        """
        with self.changed:
            self._queue_output()
        while self._queued:
            if not self._writing.acquire(blocking=False):
                return
            try:
                while True:
                    with self.changed:
                        self._queue_output()
                        data = b"".join(self._queued)
                        self._queued.clear()
                    if not data:
                        break
                    self._sock.sendall(data)
            except (OSError, ValueError) as error:
                lost = ConnectionLost("The connection to the engine broke.", why=str(error))
                self._end(lost)
                if not quietly:
                    raise lost from error
                return
            finally:
                self._writing.release()

    def _queue_output(self) -> None:
        """Queue the output of h2; the caller holds the lock."""
        if data := self._h2.data_to_send():
            self._queued.append(data)

    def _read_loop(self) -> None:
        error = ConnectionLost("The engine closed the connection.")
        try:
            while data := self._sock.recv(_READ_SIZE):
                fresh: list[Stream] = []
                with self.changed:
                    for event in self._h2.receive_data(data):
                        self._dispatch(event, fresh)
                    self.changed.notify_all()
                for stream in fresh:
                    if self._on_stream is not None:
                        self._on_stream(stream)
                self._flush(quietly=True)
        except (OSError, ValueError) as problem:
            error = ConnectionLost("The connection to the engine broke.", why=str(problem))
        except h2.exceptions.ProtocolError as problem:
            error = ConnectionLost("The engine broke the HTTP/2 protocol.", why=str(problem))
        finally:
            self._end(error)
            shut(self._sock)

    def _dispatch(self, event: h2.events.Event, fresh: list[Stream]) -> None:
        stream_id = cast(int | None, getattr(event, "stream_id", None))
        if isinstance(event, h2.events.ConnectionTerminated):
            # From here on h2 accepts nothing in either direction.
            self._end_streams(ConnectionLost("The engine closed the connection."))
        if isinstance(event, h2.events.RequestReceived):
            stream = Stream(self, event.stream_id or 0)
            self._streams[stream.id] = stream
            fresh.append(stream)
        if isinstance(event, h2.events.DataReceived) and event.stream_id not in self._streams:
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        if stream_id and (stream := self._streams.get(stream_id)) is not None:
            stream.deliver(event)
            if not stream.is_open:
                self._streams.pop(stream_id, None)


def header(headers: Iterable[tuple[str, str]], name: str) -> list[str]:
    """Return all values of the header `name`, in order."""
    return [value for key, value in headers if key == name]
