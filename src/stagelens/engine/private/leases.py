"""Leases of the private engine by test runs: the last run stops it, unless somebody else has begun to use it.

A file beside the engine, the lease, has a line for each run. It exists only while nothing but tests uses the
engine. Each run holds a shared lock until it ends; the system releases the lock of a killed run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from stagelens.engine.private.model import PrivateEngine, private_engine

if sys.platform != "win32":
    import fcntl

# Set for every program that a test run starts: the path of the lease, or "" if the engine has none. A test's
# use of the engine does not release the lease.
LEASE_VARIABLE = "STAGELENS_TEST_ENGINE"


@contextmanager
def lease() -> Generator[Path]:
    """Lease the private engine for a test run, which may start it; at the end the last run stops it.

    If another run is stopping the engine, this waits for it.

    Yields
    ------
    Path
        The lease file, for LEASE_VARIABLE.
    """
    from stagelens.engine.private.lifecycle import stop_private  # only test runs need it

    engine = private_engine()
    file = engine.folder / "runs"
    if sys.platform != "linux":
        yield file
        return
    engine.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _shared_lock(engine) as lock:
        if engine.pid() is None or file.exists():
            with file.open("a") as runs:
                runs.write(f"{os.getpid()}\n")
        try:
            yield file
        finally:
            if _is_last(lock) and file.exists():
                if engine.pid() is not None:
                    stop_private(engine)
                file.unlink()


def release() -> None:
    """Release the private engine from test runs, so it goes on after them; wait if one is stopping it."""
    engine = private_engine()
    if LEASE_VARIABLE in os.environ or sys.platform != "linux":
        return
    # If there is no lock file, or no permission to lock it, there is no test run.
    with suppress(OSError), _shared_lock(engine):
        (engine.folder / "runs").unlink(missing_ok=True)


@contextmanager
def _shared_lock(engine: PrivateEngine) -> Generator[TextIO]:
    """Hold the engine's lock, shared; on a file system without locks do not wait."""
    with (engine.folder / "runs.lock").open("a") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield lock


def _is_last(lock: TextIO) -> bool:
    """Return whether no other run holds the lock; if so, others wait until it is closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
