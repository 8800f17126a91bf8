"""One program at a time starts the applications of a namespace."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from stagelens.paths import cache_dir
from stagelens_course.apps.errors import AlreadyStarting


@contextmanager
def starting(network: str) -> Generator[None]:
    """Hold the lock of a namespace, by its network's name; its file is gone afterwards.

    Raises
    ------
    AlreadyStarting: another program holds it.
    """
    path = cache_dir() / f"up-{network}.lock"
    # Who opens a lock's file must not come upon one that its last holder removes: both hold this one for it.
    files = FileLock(cache_dir() / "up.lock")
    lock = FileLock(path)
    try:
        with files:
            lock.acquire(timeout=0)
    except Timeout:
        raise AlreadyStarting(
            "These applications are being started by another program.",
            where=f"network {network}",
            remedy="wait until it is done, then look at stagelens status",
        ) from None
    try:
        yield
    finally:
        with files:
            lock.release()
            path.unlink(missing_ok=True)
