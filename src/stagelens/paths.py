"""Where stagelens keeps its things, by the rules of the operating system; STAGELENS_HOME moves them all."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import platformdirs

from stagelens.settings import Settings

_NEW = ".new-"
# No file takes that long to write: whoever was at it has been killed.
_LEFT_SECONDS = 24 * 3600


def state_dir() -> Path:
    """Things that must last: a private engine's data, its log and pid file."""
    return _place(platformdirs.user_state_path("stagelens"), "state")


def cache_dir() -> Path:
    """Things that can be made again: indexed layers, downloaded packages."""
    return _place(platformdirs.user_cache_path("stagelens"), "cache")


def _place(usual: Path, name: str) -> Path:
    home = Settings().home
    place = home / name if home else usual
    place.mkdir(parents=True, exist_ok=True)
    return place


@contextlib.contextmanager
def replacing(path: Path) -> Generator[BinaryIO]:
    """A file to write that becomes `path` when the body ends, and goes away when it fails.

    What programs that were killed meanwhile have left beside it is removed.

    Raises
    ------
    OSError: the folder is not there, cannot be written or is full.
    """
    for left in path.parent.glob(f"{_NEW}*"):
        with contextlib.suppress(OSError):  # another program may remove it, too
            if left.stat().st_mtime < time.time() - _LEFT_SECONDS:
                left.unlink()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_NEW)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str, keep: Path | None = None) -> None:
    """Write a file beside `path` and put it in its place: nobody ever reads half of it.

    keep: where a file that is there already goes.

    One program at a time writes into a report, so the name beside is always the same, and what a killed one
    left there is written over.
    """
    new = path.with_name(f".new-{path.name}")
    try:
        with new.open("w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.is_file():
            path.replace(keep)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
