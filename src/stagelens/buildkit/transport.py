"""A raw connection to the engine of a docker-py client, upgraded from HTTP/1.1 to HTTP/2.

docker-py can connect to an engine (Unix socket, TCP with TLS, SSH, Windows named pipe), but only inside its
`requests` adapters. This module asks the client's adapter for a new connection and uses its socket, so it
supports everything that docker-py supports. It reads the answer to the upgrade byte by byte up to the blank
line: the engine may send HTTP/2 frames right after it, and a buffered reader would swallow them.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from stagelens.buildkit import dockerpy
from stagelens.buildkit.errors import ConnectionLost, UpgradeRefused

if TYPE_CHECKING:
    from stagelens.buildkit.dockerpy import EngineApi

_MAX_HEADER_BYTES = 64 * 1024
_PIPE_ENDED = 109  # Windows' ERROR_BROKEN_PIPE


class Socket(Protocol):
    """The methods that this package needs of sockets, TLS sockets, SSH channels and named pipes."""

    def recv(self, size: int, /) -> bytes:
        """Receive up to `size` bytes, b"" at the end."""
        ...

    def sendall(self, data: bytes, /) -> Any:
        """Send all of `data`."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


def connect(api: EngineApi, timeout: float = 20.0) -> Socket:
    """Open a new raw connection to an engine.

    Parameters
    ----------
    api
        The client of docker-py whose engine to connect to.
    timeout
        Seconds to wait for the connection.

    Raises
    ------
    ConnectionLost
        If the engine does not answer.
    """
    try:
        sock = dockerpy.dial(api, timeout)
    except dockerpy.connection_errors() as error:
        raise ConnectionLost(
            "The container engine does not answer.",
            where=dockerpy.engine_address(api),
            why=str(error),
            remedy="check that the engine runs: stagelens doctor",
        ) from error
    return _thread_safe(sock)


def _thread_safe(sock: Any) -> Socket:
    """Return `sock`, or a wrapper if one thread cannot read while another writes."""
    if isinstance(sock, ssl.SSLSocket):
        return _TlsSocket(sock)
    if getattr(sock, "proc", None) is not None:
        return _SshProcess(sock)
    sock.settimeout(None)
    return cast(Socket, sock) if hasattr(sock, "fileno") else _Pipe(sock)


class _TlsSocket:
    """A TLS socket for two threads: OpenSSL allows no read during a write, so neither blocks inside it."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._lock = threading.Lock()
        self._timeout: float | None = None

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    def _attempt(self, operation: Callable[[], Any]) -> Any:
        while True:
            with self._lock:
                try:
                    return operation()
                except ssl.SSLWantReadError:
                    waiting = ([self._sock], [])
                except ssl.SSLWantWriteError:
                    waiting = ([], [self._sock])
            if not any(select.select(*waiting, [], self._timeout)):
                raise TimeoutError("the engine does not answer")

    def recv(self, size: int, /) -> bytes:
        return self._attempt(lambda: self._sock.recv(size))

    def sendall(self, data: bytes, /) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._attempt(partial(self._sock.send, rest)) :]

    def shutdown(self, how: int) -> None:
        # Shut the TCP connection down: TLS would wait for the other side.
        socket.socket.shutdown(self._sock, how)

    def close(self) -> None:
        self._sock.close()


class _SshProcess:
    """docker-py's connection through an `ssh` program, whose `recv` waits for a full buffer."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._process = sock.proc

    def recv(self, size: int, /) -> bytes:
        return self._process.stdout.read1(size)

    def sendall(self, data: bytes, /) -> None:
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # unsent data
                pipe.close()
        socket.socket.close(self._sock)


class _PipeError(OSError):
    """An error of a Windows pipe, with Windows' number."""


class _Pipe:
    """docker-py's Windows pipe, which differs from a socket in three ways.

    Its `recv` reads without an event, so that a write of another thread may end it. At the end it raises an
    error that is not an OSError. A second `close` raises, too.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._closed = False

    def settimeout(self, timeout: float | None) -> None:
        self._sock.settimeout(timeout)

    def recv(self, size: int, /) -> bytes:
        buffer = bytearray(size)
        try:
            count = self._attempt(lambda: self._sock.recv_into(buffer))
        except _PipeError as error:
            if error.errno == _PIPE_ENDED:
                return b""
            raise
        return bytes(buffer[:count])

    def sendall(self, data: bytes, /) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._attempt(partial(self._sock.send, rest)) :]

    def _attempt(self, operation: Callable[[], int]) -> int:
        try:
            return operation()
        except OSError:
            raise
        except Exception as error:
            # pywintypes.error(number, function, message), or docker-py's RuntimeError for a closed pipe.
            number = error.args[0] if error.args and isinstance(error.args[0], int) else errno.EPIPE
            raise _PipeError(number, str(error.args[-1])) from error

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._sock.close()


def upgrade(
    api: EngineApi, path: str, headers: Iterable[tuple[str, str]] = (), timeout: float = 20.0
) -> Socket:
    """POST to `path` with `Upgrade: h2c` and return the connection after the engine has switched.

    The engine's side is moby's `api/server/router/{session,grpc}`: it answers `101` and hijacks the
    connection.

    Parameters
    ----------
    api
        The client of docker-py whose engine to connect to.
    path
        The path of the Engine API, without the version.
    headers
        Further headers of the request.
    timeout
        Seconds to wait for the connection and for the answer.

    Raises
    ------
    UpgradeRefused
        If the engine answers with any other status; `stagelens.build` then builds without a session.
    ConnectionLost
        If the connection ends before an answer.
    """
    sock = connect(api, timeout)
    try:
        lines = [
            f"POST /v{api.api_version}{path} HTTP/1.1",
            "Host: docker",
            "Connection: Upgrade",
            "Upgrade: h2c",
            "Content-Length: 0",
            *(f"{name}: {value}" for name, value in headers),
        ]
        _set_timeout(sock, timeout)
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        status = _read_header(sock).split(b"\r\n", 1)[0].decode("latin-1")
        _set_timeout(sock, None)
    except (OSError, UnicodeEncodeError) as error:
        sock.close()
        raise ConnectionLost("The engine did not answer the upgrade.", where=path, why=str(error)) from error
    except BaseException:
        sock.close()
        raise
    if status.split(" ")[1:2] != ["101"]:
        sock.close()
        raise UpgradeRefused(
            "The engine does not offer a BuildKit session.",
            where=path,
            why=f"it answered {status!r}",
            remedy="use Docker Engine 18.09 or newer; older engines and Podman build without a session",
        )
    return sock


def _read_header(sock: Socket) -> bytes:
    header = bytearray()
    while not header.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise ConnectionLost("The engine closed the connection instead of upgrading it.")
        header += byte
        if len(header) > _MAX_HEADER_BYTES:
            raise UpgradeRefused("The engine's answer to the upgrade is too long.")
    return bytes(header)


def _set_timeout(sock: Socket, timeout: float | None) -> None:
    if hasattr(sock, "settimeout"):
        cast(socket.socket, sock).settimeout(timeout)


def shut(sock: Socket) -> None:
    """End the connection and wake a thread that is blocked in `recv`, which closing alone does not do."""
    with contextlib.suppress(OSError, AttributeError):
        cast(socket.socket, sock).shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        sock.close()
