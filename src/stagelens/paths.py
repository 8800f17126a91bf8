"""Folders for state and cache, by the rules of the operating system or STAGELENS_HOME; atomic writes."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import platformdirs

from stagelens.settings import Settings

_NEW = ".new-"
# No file takes that long to write: the program that wrote it was killed.
_LEFTOVER_SECONDS = 24 * 3600


def state_dir() -> Path:
    """Return the folder for files that must last, such as a private engine's data, log and pid file."""
    return _folder(platformdirs.user_state_path("stagelens"), "state")


def cache_dir() -> Path:
    """Return the folder for files that can be created again, such as indexed layers and packages."""
    return _folder(platformdirs.user_cache_path("stagelens"), "cache")


def _folder(default: Path, name: str) -> Path:
    home = Settings().home
    folder = home / name if home else default
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def atomic_write(
    path: Path, *, mode: int = 0o600, exclusive: bool = False, sync: bool = False, backup: Path | None = None
) -> Generator[BinaryIO]:
    """Open a new file that replaces `path` when the body ends; if the body fails, `path` stays as it was.

    Also removes what killed programs left in the folder.

    Parameters
    ----------
    path
        The file to replace or create.
    mode
        The permissions of a new file, before the umask; an existing file keeps its permissions.
    exclusive
        Whether no other program writes to the folder: leftovers are removed at any age then.
    sync
        Whether to wait until the content is on the disk.
    backup
        Where to move the file that exists.

    Yields
    ------
    BinaryIO
        The new file.

    Raises
    ------
    OSError
        If the folder does not exist, cannot be written or is full.
    """
    for leftover in path.parent.glob(f"{_NEW}*"):
        with contextlib.suppress(OSError):  # another program may remove it at the same time
            if exclusive or leftover.stat().st_mtime < time.time() - _LEFTOVER_SECONDS:
                leftover.unlink()
    new = path.with_name(f"{_NEW}{secrets.token_hex(8)}")
    with contextlib.suppress(FileNotFoundError):
        mode = stat.S_IMODE(path.stat().st_mode)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(new, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(descriptor)
        if backup is not None and path.is_file():
            path.replace(backup)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def atomic_write_text(path: Path, text: str, *, exclusive: bool = False, backup: Path | None = None) -> None:
    """Write a text as UTF-8 with `atomic_write`, and wait until it is on the disk.

    Parameters
    ----------
    path
        The file to replace or create.
    text
        The text; what UTF-8 cannot encode becomes a question mark.
    exclusive
        Whether no other program writes to the folder.
    backup
        Where to move the file that exists.

    Raises
    ------
    OSError
        If the folder does not exist, cannot be written or is full.
    """
    with atomic_write(path, mode=0o666, exclusive=exclusive, sync=True, backup=backup) as file:
        file.write(text.encode("utf-8", "replace"))
