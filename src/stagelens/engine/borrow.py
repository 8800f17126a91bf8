"""A private engine that test runs have started: the last one stops it, unless somebody has come to use it.

A list beside the engine has a line for each run, and is there only while nobody but tests uses the engine.
Each run holds a shared lock to its end; the system takes it from one that is killed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from stagelens.engine import private

if sys.platform != "win32":
    import fcntl

# Set for all that a test run starts: its path of the list, or "" where the engine is anybody's. What tests do
# with an engine is no reason to let it run on.
RUNS = "STAGELENS_TEST_ENGINE"


@contextmanager
def borrowed() -> Generator[Path]:
    """Be one of the runs that may start the private engine and leave none behind; yields their list.

    Where another run is stopping it, this one waits.
    """
    engine = private.private_engine()
    runs = engine.folder / "runs"
    if sys.platform != "linux":
        yield runs
        return
    engine.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(engine) as lock:
        if engine.pid() is None or runs.exists():
            with runs.open("a") as file:
                file.write(f"{os.getpid()}\n")
        try:
            yield runs
        finally:
            if _alone(lock) and runs.exists():
                if engine.pid() is not None:
                    private.stop(engine)
                runs.unlink()


def keep() -> None:
    """Let the private engine go on after the runs that have started it; wait where one is stopping it."""
    engine = private.private_engine()
    if RUNS in os.environ or sys.platform != "linux":
        return
    # Where there is nothing to lock, or no right to it, there is no run either.
    with suppress(OSError), _locked(engine):
        (engine.folder / "runs").unlink(missing_ok=True)


@contextmanager
def _locked(engine: private.PrivateEngine) -> Generator[TextIO]:
    """The engine's lock, shared; a file system without locks has none to wait for."""
    with (engine.folder / "runs.lock").open("a") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield lock


def _alone(lock: TextIO) -> bool:
    """Whether no other run holds the lock; from then on others wait until it is closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
