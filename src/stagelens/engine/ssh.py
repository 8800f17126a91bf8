"""An engine behind SSH, reached through the user's own `ssh` program as the docker command does.

Whatever works with `ssh HOST` works here: configuration, agents, jump hosts, hardware keys and known hosts.
On the other side, `docker system dial-stdio` passes the bytes on to the engine's socket. The program gets one
end of a socket pair, so docker-py and BuildKit's session have a real socket with timeouts.
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

from stagelens import timeouts
from stagelens.text import inline

_OUTPUT_BYTES, _OUTPUT_LINES = 4096, 8


class SshFailed(ConnectionError):
    """`ssh` ended before the engine answered; `output` holds the last lines that it printed."""

    def __init__(self, output: str) -> None:
        self.output = output
        super().__init__(output or "ssh ended without any output")


def login_command(address: str) -> str:
    """Return the command with which a person logs in to that address's host."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    port = f"-p {parts.port} " if parts.port else ""
    return f"ssh {port}" + shlex.quote(f"{parts.username}@{host}" if parts.username else host)


def known_hosts_name(address: str) -> str:
    """Return the name that an address's host has in the file known_hosts."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    return f"[{host}]:{parts.port}" if parts.port else host


def dial_command(address: str) -> list[str]:
    """Return the command that connects to an engine.

    Parameters
    ----------
    address
        `ssh://[USER@]HOST[:PORT][/PATH/OF/SOCKET]`.

    Returns
    -------
    list of str
        The arguments of `ssh`, whose standard input and output lead to the engine.

    Raises
    ------
    ValueError
        If the address has another form.
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
        *("-o", f"ConnectTimeout={timeouts.current.ssh_connect}"),
        *(("-l", parts.username) if parts.username else ()),
        *(("-p", str(parts.port)) if parts.port else ()),
        "--",
        parts.hostname,
        shlex.join(["docker", *engine, "system", "dial-stdio"]),
    ]


class SshSocket(socket.socket):
    """A socket whose other end is the standard input and output of `ssh`; closing it ends the program."""

    def __init__(self, program: list[str]) -> None:
        ours, theirs = socket.socketpair()
        # Unlike a pipe, a file needs no reader, and an ssh that stays as a shared master may keep it open.
        self._stderr = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        try:
            with theirs:
                end = theirs.fileno()
                # Without a terminal: Ctrl-C must not reach ssh, and ssh must not ask questions.
                self._process = subprocess.Popen(
                    program, stdin=end, stdout=end, stderr=self._stderr, start_new_session=True
                )
        except OSError as error:
            self._stderr.close()
            ours.close()
            raise SshFailed(f"{program[0]} cannot be run: {error.strerror}") from error
        super().__init__(fileno=ours.detach())
        self._received_data = False

    # The methods that http.client and buildkit.http2 call.
    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:  # noqa: D102
        return self._receive(lambda: super(SshSocket, self).recv(bufsize, flags))

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:  # noqa: D102
        return self._receive(lambda: super(SshSocket, self).recv_into(buffer, nbytes, flags))

    def sendall(self, data: Any, flags: int = 0, /) -> None:  # noqa: D102
        try:
            super().sendall(data, flags)
        except (BrokenPipeError, ConnectionResetError) as error:
            if self._received_data:
                raise
            raise self._failure() from error

    def _receive(self, operation: Callable[[], Any]) -> Any:
        """Receive data; if the connection ends before the first byte, raise what ssh printed."""
        try:
            got = operation()
        except ConnectionResetError as error:
            if self._received_data:
                raise
            raise self._failure() from error
        if not got and not self._received_data:
            raise self._failure()
        self._received_data = True
        return got

    def _failure(self) -> SshFailed:
        """Return why ssh ended; it has closed its side, so it ends soon if it has not yet."""
        try:
            self._process.wait(timeouts.current.ssh_exit)
        except subprocess.TimeoutExpired:
            self._process.terminate()
        if self._stderr.closed:
            return SshFailed("the connection was closed")
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _OUTPUT_BYTES))
        lines = self._stderr.read().decode("utf-8", "replace").splitlines()
        shown = [inline(line.strip()) for line in lines if line.strip()]
        return SshFailed("\n".join(shown[-_OUTPUT_LINES:]))

    def _real_close(self) -> None:
        """End ssh when the last user of the socket has closed it."""
        cast(Any, super())._real_close()
        self._process.terminate()
        self._process.wait()
        self._stderr.close()
