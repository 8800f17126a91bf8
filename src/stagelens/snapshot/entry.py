"""One file as a snapshot sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["file", "dir", "symlink", "char", "block", "fifo", "socket"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one file without its content.

    `path` is separated by `/` and has no slash at either end; bytes that are not UTF-8 are kept by
    surrogateescape. `mode` holds the permission bits, 0 to 0o7777; `size` is in bytes, `mtime` in whole
    seconds since 1970. `link_target` is set for symlinks alone.
    """

    path: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link_target: str | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]
