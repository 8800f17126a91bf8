"""Folders for state and cache, by the rules of the operating system or STAGELENS_HOME; atomic writes."""

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

_TEMPORARY_PREFIX = ".new-"
# Writing a file never takes that long: the program that wrote an older temporary file was killed.
_STALE_SECONDS = 24 * 3600


def state_dir() -> Path:
    """Return the folder for what must last: a private engine's data, log and pid file."""
    return _folder(platformdirs.user_state_path("stagelens"), "state")


def cache_dir() -> Path:
    """Return the folder for what can be created again: indexed layers, downloaded packages."""
    return _folder(platformdirs.user_cache_path("stagelens"), "cache")


def _folder(default: Path, name: str) -> Path:
    home = Settings().home
    folder = home / name if home else default
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def atomic_write(path: Path) -> Generator[BinaryIO]:
    """Open a temporary file that replaces `path` when the body ends, and is removed if it fails.

    Temporary files that killed programs left in the folder are removed.

    Parameters
    ----------
    path
        The file to replace; it may be missing.

    Yields
    ------
    BinaryIO
        The temporary file.

    Raises
    ------
    OSError
        If the folder is missing, read-only or full.
    """
    for stale in path.parent.glob(f"{_TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):  # another program may remove it at the same time
            if stale.stat().st_mtime < time.time() - _STALE_SECONDS:
                stale.unlink()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY_PREFIX)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def atomic_write_text(path: Path, content: str, backup: Path | None = None) -> None:
    """Replace a text file so that no reader, and no crash of the machine, ever leaves half of it.

    The temporary file has a fixed name, so only one program at a time may write to `path`, and what a killed
    program left is overwritten.

    Parameters
    ----------
    path
        The file to replace; it may be missing.
    content
        The new text.
    backup
        Where an existing file is moved to.

    Raises
    ------
    OSError
        If the folder is missing, read-only or full.
    """
    new = path.with_name(f"{_TEMPORARY_PREFIX}{path.name}")
    try:
        with new.open("w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if backup is not None and path.is_file():
            path.replace(backup)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
