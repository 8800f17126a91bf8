"""What this process holds that is ours: other tests' things may come and go meanwhile."""

from __future__ import annotations

import errno
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from stagelens.engine import LEASE_VARIABLE

PATIENCE = 120.0  # seconds for what takes less than two on an idle machine


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition()` holds; fail with `what` where it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.05)


class GivenUp:
    """A call to an engine, as `call`, that an interrupt meets on its way: the engine goes on with it.

    It takes half a second, so that whatever does not wait for its end removes too early.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._threads: list[threading.Thread] = []

    def __call__(self, *given: Any, **settings: Any) -> Any:
        """Interrupt this process, and give what the call gives to whoever still waits."""
        results: list[Any] = []

        def make() -> None:
            time.sleep(0.5)
            results.append(self._call(*given, **settings))

        self._threads.append(threading.Thread(target=make))
        self._threads[-1].start()
        os.kill(os.getpid(), signal.SIGINT)
        self._threads[-1].join()
        return results[0]

    def end(self) -> None:
        """Wait until the engine has done what it was asked for."""
        for thread in self._threads:
            thread.join()


@contextmanager
def limited(kind: int, most: int) -> Generator[None]:
    """One of `resource`'s limits for this process meanwhile: RLIMIT_FSIZE is a disk that gets full."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def own() -> bool:
    """Whether the running engine is this run's alone: it started it, and nobody else has come to use it."""
    try:
        return len(Path(os.environ.get(LEASE_VARIABLE, "")).read_text().splitlines()) == 1
    except OSError:  # no list is named, or it is not there any more
        return False


def ended(process: psutil.Process | int) -> bool:
    """Whether a process, or the one with that id, runs no more."""
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(process) if isinstance(process, int) else process
        return not found.is_running() or found.status() == psutil.STATUS_ZOMBIE
    return True


def descriptors() -> set[tuple[str, str]]:
    """Each open descriptor's number, and where it leads to: a path, or a socket's or pipe's own number."""
    found: set[tuple[str, str]] = set()
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            found.add((number, str(Path("/proc/self/fd", number).readlink())))
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # only a tree of our tests is that deep
                found.add((number, "too long"))
            elif error.errno != errno.ENOENT:  # closed since it was listed
                raise
    return found


def open_below(folder: Path) -> list[str]:
    """Where each open descriptor of `folder` and of what is below it leads to."""
    ours = (str(folder), "too long")
    return [path for _, path in descriptors() if path in ours or path.startswith(f"{folder}/")]


def threads() -> set[threading.Thread]:
    """The threads of stagelens that run."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("stagelens")}


def children() -> set[tuple[int, str]]:
    """The id and the program of each process that this one started, by way of others, too."""
    found: set[tuple[int, str]] = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if not ended(child):
                found.add((child.pid, " ".join(child.cmdline())))
    return found


@contextmanager
def nothing_new(*looks: Callable[[], Iterable[Hashable]]) -> Generator[None]:
    """What each of `looks` shows after the body and did not show before it goes away again, in a while.

    What was there before may stay or go, and each thing has to be seen gone once: others come for others.
    """
    before = [set(look()) for look in looks]
    yield
    left = [set(look()) - old for look, old in zip(looks, before, strict=True)]
    deadline = time.monotonic() + PATIENCE
    while any(left):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)
        left = [found & set(look()) for look, found in zip(looks, left, strict=True)]


_MEASURED = """
import sys
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
{before}
start = peak()
{code}
print(peak() - start)
"""


def grown_by(before: str, code: str, *arguments: str | Path) -> int:
    """How many bytes the memory of a Python of its own grows by at its peak while it runs `code`.

    `before` is run first and not counted; both find `arguments` in `sys.argv[1:]`. Linux only.
    """
    program = _MEASURED.format(before=before, code=code)
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]) * 1024


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, and that the system gives to no connection that goes out."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
