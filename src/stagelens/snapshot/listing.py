"""Files in columns, as the file lister in the engine sends them (see `tools/lister.c`)."""

from __future__ import annotations

import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from operator import lt
from typing import NamedTuple, TypeVar

from stagelens.errors import StagelensError
from stagelens.snapshot.table import FileTable, Kind, pack_kind

_KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
_COUNTS = struct.Struct("<III")  # rows, folders, bytes of the keys
# No name of a file is empty, `.` or `..`; before each name is a NUL, behind it another one or the key's end.
_NO_NAMES = tuple(b"\0" + name + end for name in (b"", b".", b"..") for end in (b"\0", b"/"))

T = TypeVar("T")


class ListingError(StagelensError):
    """A listing is truncated or inconsistent."""


class Folder(NamedTuple):
    """Facts that identify a folder.

    Attributes
    ----------
    links
        The number of hard links.
    inode
        The inode.
    changed
        The time of its last change (ctime), in whole seconds.
    uid, gid
        Its owner and group.
    """

    links: int
    inode: int
    changed: int
    uid: int
    gid: int


@dataclass(slots=True)
class Rows:
    """Files in columns, in any order.

    Attributes
    ----------
    keys
        The keys of the paths (see `table.path_key`).
    kinds
        Kinds and permission bits (see `table.pack_kind`).
    uids, gids, sizes, mtimes, targets
        As in `table.FileTable.from_columns`.
    folders
        Facts of the files that are folders, by their keys.
    """

    keys: list[bytes] = field(default_factory=list[bytes])
    kinds: list[int] = field(default_factory=list[int])
    uids: list[int] = field(default_factory=list[int])
    gids: list[int] = field(default_factory=list[int])
    sizes: list[int] = field(default_factory=list[int])
    mtimes: list[int] = field(default_factory=list[int])
    targets: list[bytes] = field(default_factory=list[bytes])
    folders: dict[bytes, Folder] = field(default_factory=dict[bytes, Folder])

    def extend(self, other: Rows) -> None:
        """Append all rows of another value."""
        self.keys += other.keys
        self.kinds += other.kinds
        self.uids += other.uids
        self.gids += other.gids
        self.sizes += other.sizes
        self.mtimes += other.mtimes
        self.targets += other.targets
        self.folders |= other.folders

    def add(self, other: Rows, row: int, key: bytes) -> None:
        """Append one row of another value, under a key."""
        self.keys.append(key)
        self.kinds.append(other.kinds[row])
        self.uids.append(other.uids[row])
        self.gids.append(other.gids[row])
        self.sizes.append(other.sizes[row])
        self.mtimes.append(other.mtimes[row])
        self.targets.append(other.targets[row])

    def table(self) -> FileTable:
        """Sort the rows into a table.

        Raises
        ------
        ListingError
            If two rows have the same name, or a number is too large.
        """
        keys = self.keys
        # A tree that was scanned on this machine is sorted already, and then no two names are the same.
        in_order = all(map(lt, keys, islice(keys, 1, None)))
        if not in_order and len(set(keys)) != len(keys):
            raise _bad("its names do not form a tree")
        order = range(len(keys)) if in_order else sorted(range(len(keys)), key=keys.__getitem__)

        def column(values: list[T]) -> Sequence[T]:
            return values if in_order else [values[row] for row in order]

        try:
            return FileTable.from_columns(
                keys=column(keys),
                kinds=column(self.kinds),
                uids=column(self.uids),
                gids=column(self.gids),
                sizes=column(self.sizes),
                mtimes=column(self.mtimes),
                targets=column(self.targets),
            )
        except ValueError as error:
            raise _bad(str(error)) from error


def read_rows(frame: bytes) -> Rows:
    """Read the rows of one frame of the file lister (see `tools/lister.c`), a whole column at a time.

    Raises
    ------
    ListingError
        If the parts of the frame do not fit together.
    """
    try:
        count, folders, keys_size = _COUNTS.unpack_from(frame)
        columns = struct.Struct(f"<{count}I{count}I{count}I{count}Q{count}q{3 * folders}Q")
        numbers = columns.unpack_from(frame, _COUNTS.size)
    except (struct.error, MemoryError) as error:
        raise _bad(str(error)) from error
    start = _COUNTS.size + columns.size
    keys = frame[start : start + keys_size].split(b"/")
    targets = frame[start + keys_size :].split(b"\0")
    modes, uids, gids, sizes, mtimes = (numbers[count * n : count * (n + 1)] for n in range(5))
    facts = numbers[5 * count :]
    formats = {mode: stat.S_IFMT(mode) for mode in set(modes)}
    links = [row for row, mode in enumerate(modes) if formats[mode] == stat.S_IFLNK]
    folder_rows = [row for row, mode in enumerate(modes) if formats[mode] == stat.S_IFDIR]
    if keys.pop() or targets.pop() or len(keys) != count:
        raise _bad(f"{len(keys)} names, {count} records")
    if len(targets) != len(links) or len(folder_rows) != folders:
        raise _bad("its names do not fit its symlinks and folders")
    if any(name in frame[start : start + keys_size] for name in _NO_NAMES):
        raise _bad("its names do not form a tree")
    kinds = {mode: pack_mode(mode) for mode in formats}
    by_row = dict(zip(links, targets, strict=True))
    return Rows(
        keys=keys,
        kinds=[kinds[mode] for mode in modes],
        uids=list(uids),
        gids=list(gids),
        sizes=list(sizes),
        mtimes=list(mtimes),
        targets=[by_row.get(row, b"") for row in range(count)] if by_row else [b""] * count,
        folders={
            keys[row]: Folder._make((*facts[3 * n : 3 * n + 3], uids[row], gids[row]))
            for n, row in enumerate(folder_rows)
        },
    )


@lru_cache(maxsize=1024)
def pack_mode(mode: int) -> int:
    """Pack a file's mode as a table's column has it.

    Raises
    ------
    ListingError
        If no kind of file has this mode.
    """
    kind = _KINDS.get(stat.S_IFMT(mode))
    if kind is None:
        raise _bad(f"no kind of file has mode {mode:o}")
    return pack_kind(kind, stat.S_IMODE(mode))


def _bad(why: str) -> ListingError:
    return ListingError(
        "A listing of files is not complete.",
        why=why,
        remedy="explore again; if the error stays, check the engine's free disk: stagelens doctor",
    )
