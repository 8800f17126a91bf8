"""An engine behind SSH, reached through the user's own `ssh` program, as the docker command has it.

What works with `ssh HOST` works here: its configuration, agents, jump hosts, hardware keys and known hosts.
On the other side `docker system dial-stdio` hands the bytes on to the engine's socket. The program gets one
end of a socket pair, so that docker-py and BuildKit's session have a real socket, with timeouts and all.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool

from stagelens.text import inline

CONNECT_SECONDS = 10
_END_SECONDS = 5.0
_WORDS_BYTES, _WORDS_LINES = 4096, 8


class SshFailed(ConnectionError):
    """`ssh` ended before the engine said anything; `words` is what it printed, its last lines."""

    def __init__(self, words: str) -> None:
        self.words = words
        super().__init__(words or "ssh ended and said nothing")


def login(address: str, known_hosts: bool = False) -> str:
    """The command that logs in to that address's host, for a person; or the host's name in known_hosts."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if known_hosts:
        return f"[{host}]:{parts.port}" if parts.port else host
    port = f"-p {parts.port} " if parts.port else ""
    return f"ssh {port}" + shlex.quote(f"{parts.username}@{host}" if parts.username else host)


def command(address: str) -> list[str]:
    """The program that leads to the engine at `ssh://[USER@]HOST[:PORT][/PATH/OF/SOCKET]`.

    Raises
    ------
    ValueError: it is no such address.
    """
    parts = urlsplit(address)
    if parts.password is not None:
        raise ValueError("an ssh address takes no password: use a key, and an agent for its passphrase")
    if not parts.hostname or parts.query or parts.fragment:
        raise ValueError("an ssh address is ssh://USER@HOST:PORT")
    engine = ["--host", f"unix://{parts.path}"] if parts.path.strip("/") else []
    return [
        "ssh",
        "-T",
        *("-o", f"ConnectTimeout={CONNECT_SECONDS}"),
        *(("-l", parts.username) if parts.username else ()),
        *(("-p", str(parts.port)) if parts.port else ()),
        "--",
        parts.hostname,
        shlex.join(["docker", *engine, "system", "dial-stdio"]),
    ]


class SshAdapter(UnixHTTPAdapter):
    """docker-py's adapter of a unix socket; each of its connections is an `ssh` of its own."""

    def __init__(self, address: str, timeout: int) -> None:
        self._command = command(address)
        super().__init__("http+unix://ssh", timeout)
        self.socket_path = address  # what is told of it where it fails; no socket has this path

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        """The one pool for all paths: a connection costs more here than with a socket of this machine."""
        pools = cast(Any, self.pools)
        with pools.lock:
            pool = pools.get("ssh")
            if pool is None:
                pool = pools["ssh"] = _Pool("ssh", "ssh", self.timeout)
                pool.program = self._command
        return pool


class _Pool(UnixHTTPConnectionPool):
    program: list[str]

    def _new_conn(self) -> Any:
        return _Connection(self.program, self.timeout)


class _Connection(UnixHTTPConnection):
    def __init__(self, program: list[str], timeout: Any) -> None:
        super().__init__("ssh", "ssh", timeout)
        self._program = program

    def connect(self) -> None:
        self.sock = SshSocket(self._program)
        self.sock.settimeout(self.timeout)


class SshSocket(socket.socket):
    """A socket whose other end is the standard input and output of `ssh`, which ends with it."""

    def __init__(self, program: list[str]) -> None:
        ours, theirs = socket.socketpair()
        # A file, not a pipe: nobody has to read it, and an ssh that stays as a shared master may keep it.
        self._words = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        try:
            with theirs:
                end = theirs.fileno()
                # Without our terminal: Ctrl-C is ours to act on, and a question has no place in a build.
                self._process = subprocess.Popen(
                    program, stdin=end, stdout=end, stderr=self._words, start_new_session=True
                )
        except OSError as error:
            self._words.close()
            ours.close()
            raise SshFailed(f"{program[0]} cannot be run: {error.strerror}") from error
        super().__init__(fileno=ours.detach())
        self._heard = False

    # What http.client and our HTTP/2 use of a socket.
    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:  # noqa: D102
        return self._received(lambda: super(SshSocket, self).recv(bufsize, flags))

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:  # noqa: D102
        return self._received(lambda: super(SshSocket, self).recv_into(buffer, nbytes, flags))

    def sendall(self, data: Any, flags: int = 0, /) -> None:  # noqa: D102
        try:
            super().sendall(data, flags)
        except (BrokenPipeError, ConnectionResetError) as error:
            if self._heard:
                raise
            raise self._failure() from error

    def _received(self, operation: Callable[[], Any]) -> Any:
        """What `operation` receives; an end before the first byte is told in ssh's own words."""
        try:
            got = operation()
        except ConnectionResetError as error:
            if self._heard:
                raise
            raise self._failure() from error
        if not got and not self._heard:
            raise self._failure()
        self._heard = True
        return got

    def _failure(self) -> SshFailed:
        """Why ssh ended; it has closed its side, so that it is about to end where it has not."""
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.terminate()
        if self._words.closed:
            return SshFailed("the connection was closed")
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - _WORDS_BYTES))
        lines = self._words.read().decode("utf-8", "replace").splitlines()
        shown = [inline(line.strip()) for line in lines if line.strip()]
        return SshFailed("\n".join(shown[-_WORDS_LINES:]))

    def _real_close(self) -> None:
        """The last of the socket's users has closed it."""
        cast(Any, super())._real_close()
        self._process.terminate()
        self._process.wait()
        self._words.close()
