"""Resources of this process: threads, descriptors, child processes, memory and ports."""

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

PATIENCE = 120.0  # seconds, for what takes less than two on an idle machine


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition()` holds; fail with `what` if it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.05)


class InterruptedCall:
    """A call to an engine that is interrupted halfway, while the engine carries it out.

    The call takes half a second, so code that does not wait for its end cleans up too early.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._threads: list[threading.Thread] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Interrupt this process, and return the result to a caller that still waits."""
        results: list[Any] = []

        def make() -> None:
            time.sleep(0.5)
            results.append(self._call(*args, **kwargs))

        self._threads.append(threading.Thread(target=make))
        self._threads[-1].start()
        os.kill(os.getpid(), signal.SIGINT)
        self._threads[-1].join()
        return results[0]

    def end(self) -> None:
        """Wait until the engine has carried out the calls."""
        for thread in self._threads:
            thread.join()


@contextmanager
def resource_limit(kind: int, most: int) -> Generator[None]:
    """Set a limit of `resource` for this process; RLIMIT_FSIZE simulates a full disk."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def engine_is_exclusive() -> bool:
    """Return whether this test run started the running engine and nobody else uses it."""
    try:
        return len(Path(os.environ.get(LEASE_VARIABLE, "")).read_text().splitlines()) == 1
    except OSError:  # no lease file, or it was removed
        return False


def has_ended(process: psutil.Process | int) -> bool:
    """Return whether a process, or the one with that id, has ended."""
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(process) if isinstance(process, int) else process
        return not found.is_running() or found.status() == psutil.STATUS_ZOMBIE
    return True


def descriptors() -> set[tuple[str, str]]:
    """List each open descriptor with its target: a path, or the number of a socket or pipe."""
    found: set[tuple[str, str]] = set()
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            found.add((number, str(Path("/proc/self/fd", number).readlink())))
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # only trees of these tests are that deep
                found.add((number, "too long"))
            elif error.errno != errno.ENOENT:  # closed since it was listed
                raise
    return found


def open_descriptors_in(folder: Path) -> list[str]:
    """List the targets of open descriptors in `folder`."""
    targets = (str(folder), "too long")
    return [path for _, path in descriptors() if path in targets or path.startswith(f"{folder}/")]


def threads() -> set[threading.Thread]:
    """List the running threads of stagelens."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("stagelens")}


def children() -> set[tuple[int, str]]:
    """List the id and command line of each descendant of this process."""
    found: set[tuple[int, str]] = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if not has_ended(child):
                found.add((child.pid, " ".join(child.cmdline())))
    return found


@contextmanager
def no_leaks(*listings: Callable[[], Iterable[Hashable]]) -> Generator[None]:
    """Check that whatever the body adds to the `listings` disappears soon.

    What existed before may stay or go. Each new item must be missing from its listing once; other tests may
    add new ones meanwhile.
    """
    before = [set(listing()) for listing in listings]
    yield
    left = [set(listing()) - old for listing, old in zip(listings, before, strict=True)]
    deadline = time.monotonic() + PATIENCE
    while any(left):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)
        left = [found & set(listing()) for listing, found in zip(listings, left, strict=True)]


_MEASURED = """
import sys
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
{before}
start = peak()
{code}
print(peak() - start)
"""


def memory_growth(before: str, code: str, *arguments: str | Path) -> int:
    """Return how many bytes the peak memory of a new Python process grows while it runs `code`.

    `before` runs first and does not count; both find `arguments` in `sys.argv[1:]`. Linux only.
    """
    program = _MEASURED.format(before=before, code=code)
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]) * 1024


def free_port() -> int:
    """Return a free port of 127.0.0.1 that the system does not use for outgoing connections."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
