"""Fakes of the Windows functions that docker-py's named pipes use, on a Unix socket.

They cover what `docker.transport.npipesocket` calls, and behave as on Windows: a pipe opened for overlapped
use is read and written with an event that the caller waits for; its end is error 109, a closed handle error
6.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from types import ModuleType
from typing import Any

ENDED, INVALID = 109, 6
TIMEOUT = 258


class Error(Exception):
    """The equivalent of pywintypes.error: a number, the function and a message; not an OSError."""


class Handle:
    """An end of a pipe; closing it ends its pending operations."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)

    def Close(self) -> None:  # noqa: N802
        if self.sock.fileno() >= 0:
            self.sock.shutdown(socket.SHUT_RDWR)
            self.sock.close()


class Event:
    """An event to wait for an operation; here, waiting carries out the operation."""

    work: Callable[[], int]
    ready: Callable[[float | None], bool]


class Overlapped:
    """A pending operation, with its result or error."""

    hEvent: Event  # noqa: N815
    result: int | Error


def _begin(handle: Handle, overlapped: Overlapped | None, work: Callable[[], int], write: bool) -> None:
    if overlapped is None:
        # Windows then waits on the handle, which another thread's operation signals, too.
        raise AssertionError("an operation without a separate event, beside others")
    if handle.sock.fileno() < 0:
        raise Error(INVALID, "ReadFile", "The handle is invalid.")

    def ready(seconds: float | None) -> bool:
        ends = ([], [handle.sock]) if write else ([handle.sock], [])
        return any(select.select(*ends, [], seconds))

    def done() -> int:
        try:
            overlapped.result = work()
        except OSError as error:
            overlapped.result = Error(ENDED, "GetOverlappedResult", str(error))
        return 0

    overlapped.hEvent.work, overlapped.hEvent.ready = done, ready


def _read(handle: Handle, buffer: Any, overlapped: Overlapped | None = None) -> tuple[int, Any]:
    def work() -> int:
        count = handle.sock.recv_into(buffer)
        if not count:
            raise OSError("The pipe has been ended.")
        return count

    _begin(handle, overlapped, work, write=False)
    return 0, buffer


def _write(handle: Handle, data: bytes, overlapped: Overlapped | None = None) -> tuple[int, int]:
    # Sometimes only a part is written, as the interface allows.
    _begin(handle, overlapped, lambda: handle.sock.send(data[:50_000]), write=True)
    return 0, 0


def _wait(event: Event, milliseconds: int) -> int:
    try:
        if not event.ready(None if milliseconds < 0 else milliseconds / 1000):
            return TIMEOUT
    except (OSError, ValueError):
        pass  # closed meanwhile: the work reports it
    return event.work()


def _result(handle: Handle, overlapped: Overlapped, wait: int) -> int:
    if isinstance(overlapped.result, Error):
        raise overlapped.result
    return overlapped.result


def modules() -> dict[str, ModuleType]:
    """Return the fake modules by name, for `sys.modules`."""
    contents: dict[str, dict[str, Any]] = {
        "pywintypes": {"error": Error, "OVERLAPPED": Overlapped},
        "win32api": {"CloseHandle": lambda event: None},
        "win32event": {
            "INFINITE": -1,
            "WAIT_TIMEOUT": TIMEOUT,
            "CreateEvent": lambda *_: Event(),
            "WaitForSingleObject": _wait,
        },
        "win32file": {
            "GENERIC_READ": 1,
            "GENERIC_WRITE": 2,
            "OPEN_EXISTING": 3,
            "FILE_FLAG_OVERLAPPED": 1 << 30,
            "CreateFile": lambda path, *_: Handle(path),
            "ReadFile": _read,
            "WriteFile": _write,
            "CancelIo": lambda handle: None,
            "GetOverlappedResult": _result,
        },
        "win32pipe": {
            "NMPWAIT_USE_DEFAULT_WAIT": 0,
            "error": Error,
            "GetNamedPipeInfo": lambda handle: (0, 0, 0, 0),
        },
    }
    fakes = {name: ModuleType(name) for name in contents}
    for name, module in fakes.items():
        vars(module).update(contents[name])
    return fakes
