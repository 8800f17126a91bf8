"""Stand-ins for the Windows functions that docker-py's named pipes are made of, on a unix socket.

Only what `docker.transport.npipesocket` calls, as Windows has it: a pipe that was opened for overlapped use
is read and written with an event, on which the caller waits; its end is error 109, a closed handle error 6.
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
    """As pywintypes.error: a number, the function and words; no OSError."""


class Handle:
    """A pipe's end; closing it ends what is under way on it."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)

    def Close(self) -> None:  # noqa: N802
        if self.sock.fileno() >= 0:
            self.sock.shutdown(socket.SHUT_RDWR)
            self.sock.close()


class Event:
    """What an operation is waited for on; waiting for it is doing it, here."""

    work: Callable[[], int]
    ready: Callable[[float | None], bool]


class Overlapped:
    """An operation under way; its result, or what it failed with."""

    hEvent: Event  # noqa: N815
    result: int | Error


def _begin(handle: Handle, overlapped: Overlapped | None, work: Callable[[], int], write: bool) -> None:
    if overlapped is None:
        # Windows waits on the handle then, which another thread's operation signals, too.
        raise AssertionError("an operation without an event of its own, beside others")
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
    # A part of it at times, as the interface allows.
    _begin(handle, overlapped, lambda: handle.sock.send(data[:50_000]), write=True)
    return 0, 0


def _wait(event: Event, milliseconds: int) -> int:
    try:
        if not event.ready(None if milliseconds < 0 else milliseconds / 1000):
            return TIMEOUT
    except (OSError, ValueError):
        pass  # closed meanwhile: the work says so
    return event.work()


def _result(handle: Handle, overlapped: Overlapped, wait: int) -> int:
    if isinstance(overlapped.result, Error):
        raise overlapped.result
    return overlapped.result


def modules() -> dict[str, ModuleType]:
    """The modules by name, for `sys.modules`."""
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
    made = {name: ModuleType(name) for name in contents}
    for name, module in made.items():
        vars(module).update(contents[name])
    return made
