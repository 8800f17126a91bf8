"""How trees are listed in a container, and how a listing is read.

File names may hold newlines, quotes and any byte but NUL, and busybox's `stat` ends its records with a
newline. So names and facts come apart: find's `-print0` gives the names, its `-exec stat` without names
gives one line of numbers each, both in the same order. A symlink's target
follows in a third stream, cut by its length, which the numbers hold. No name can forge a record.
"""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeVar

from stagelens.errors import StagelensError
from stagelens.snapshot.entry import Kind
from stagelens.snapshot.table import FileTable, pack_kind

_KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
# Mode (hexadecimal), uid, gid, size and mtime, links, inode and ctime, as the commands have stat print them.
_FACTS = re.compile(
    rb"(?:[0-9a-f]{1,8} \d{1,10} \d{1,10} \d{1,20} -?\d{1,19} \d{1,20} \d{1,20} -?\d{1,19}\n)*+"
)
_FORMAT = "%f %u %g %s %Y %h %i %Z"
_COLUMNS = 8
# What no name of find holds below a clean path: empty, `.` and `..` parts.
_UNCLEAN = (b"//", b"/./", b"/../", b"/\0", b"/.\0", b"/..\0")
# A command's arguments stay far below what a kernel takes (128 KiB each, some 2 MiB together).
_ARGUMENT_BYTES = 60_000
# Shell variables for the commands of `list_command`.
PROLOGUE = "F={} L={}; export F L\n".format(
    shlex.quote(f"exec stat -c '{_FORMAT}' \"$@\" >&3"), shlex.quote('exec stat -c %N "$@" >&4')
)


T = TypeVar("T")


class ListingError(StagelensError):
    """A listing is cut short or does not fit together."""


class Folder(NamedTuple):
    """What tells a folder from another one that is called the same."""

    links: int
    inode: int
    changed: int


@dataclass(slots=True)
class Rows:
    """Files in columns, in any order: keys as `table.path_key` has them, kinds of `pack_kind`.

    `folders` has further facts of those that are folders, by their keys.
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
        """Take over all of another's rows."""
        self.keys += other.keys
        self.kinds += other.kinds
        self.uids += other.uids
        self.gids += other.gids
        self.sizes += other.sizes
        self.mtimes += other.mtimes
        self.targets += other.targets
        self.folders |= other.folders

    def add(self, other: Rows, row: int, key: bytes) -> None:
        """Take over one row of another's, under a key."""
        self.keys.append(key)
        self.kinds.append(other.kinds[row])
        self.uids.append(other.uids[row])
        self.gids.append(other.gids[row])
        self.sizes.append(other.sizes[row])
        self.mtimes.append(other.mtimes[row])
        self.targets.append(other.targets[row])

    def table(self) -> FileTable:
        """The rows as a table.

        Raises
        ------
        ListingError: two have the same name, or a number does not fit.
        """
        keys = self.keys
        if len(set(keys)) != len(keys):
            raise _bad("its names are not those of one tree")
        order = sorted(range(len(keys)), key=keys.__getitem__)

        def column(values: list[T]) -> Sequence[T]:
            return [values[row] for row in order]

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


def list_command(folders: Iterable[bytes], out: bytes, *, deep: bool) -> bytes:
    """Shell commands (busybox) that list what is in folders, or all that is below them, and print it.

    Printed are a line of four numbers, whether find failed and the bytes of each part, and the parts. They
    wait in files beside `out`. Each tree is walked once, since that costs more than all the rest; `stat` is
    run for thousands of files at a time, its output apart from the names that find itself writes.
    """
    depth = b"-mindepth 1" if deep else b"-mindepth 1 -maxdepth 1"
    walks = b"".join(
        b'find %b %b -print0 -exec sh -c "$F" f {} + -type l -exec sh -c "$L" l {} + || S=1; '
        % (b" ".join(batch), depth)
        for batch in _batches(folders)
    )
    parts = [b"%b.%d" % (out, number) for number in range(3)]
    counts = b" ".join(b"$(wc -c < %b)" % part for part in parts)
    return b"S=0; { %b} < /dev/null > %b 3> %b 4> %b; echo $S %b; cat %b\n" % (
        walks,
        *parts,
        counts,
        b" ".join(parts),
    )


def _batches(folders: Iterable[bytes]) -> Iterable[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for folder in folders:
        quoted = quote(folder)
        if batch and size + len(quoted) > _ARGUMENT_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(quoted)
        size += len(quoted) + 1
    if batch:
        yield batch


def quote(path: bytes) -> bytes:
    """A path as one word of a shell, whatever bytes it has."""
    return b"'" + path.replace(b"'", b"'\\''") + b"'"


def read_listing(names: bytes, facts: bytes, links: bytes, root: bytes) -> Rows:
    """The files of a listing, their keys from below `root` (which ends with a slash).

    Works on whole columns, since a build may have many files after each of its instructions.

    Raises
    ------
    ListingError: the three parts are cut short, do not fit together, or are not what the commands print.
    """
    paths = names.split(b"\0")
    count = facts.count(b"\n")
    if paths.pop() or len(paths) != count or not _FACTS.fullmatch(facts):
        raise _bad(f"{len(paths)} names, {count} records")
    if any(part in names for part in _UNCLEAN) or not all(path.startswith(root) for path in paths):
        raise _bad("its names are not those of one tree")
    numbers = facts.split()
    modes, uids, gids, sizes, mtimes, hard, inodes, changed = (
        numbers[column::_COLUMNS] for column in range(_COLUMNS)
    )
    targets = _targets(links, paths, modes, sizes)
    kinds = {mode: pack_mode(int(mode, 16)) for mode in set(modes)}
    owners = {owner: int(owner) for owner in {*uids, *gids}}
    start = len(root)
    keys = [path[start:].replace(b"/", b"\0") for path in paths]
    folder_modes = {mode for mode in kinds if stat.S_ISDIR(int(mode, 16))}
    return Rows(
        keys=keys,
        kinds=[kinds[mode] for mode in modes],
        uids=[owners[owner] for owner in uids],
        gids=[owners[owner] for owner in gids],
        sizes=list(map(int, sizes)),
        mtimes=list(map(int, mtimes)),
        targets=[targets.get(row, b"") for row in range(count)] if targets else [b""] * count,
        folders={
            keys[row]: Folder(int(hard[row]), int(inodes[row]), int(changed[row]))
            for row, mode in enumerate(modes)
            if mode in folder_modes
        },
    )


@lru_cache(maxsize=1024)
def pack_mode(mode: int) -> int:
    """A file's mode as a table's column has it. Raises ListingError: no kind of file has it."""
    kind = _KINDS.get(stat.S_IFMT(mode))
    if kind is None:
        raise _bad(f"no kind of file has mode {mode:o}")
    return pack_kind(kind, stat.S_IMODE(mode))


def _targets(
    links: bytes, paths: Sequence[bytes], modes: Sequence[bytes], sizes: Sequence[bytes]
) -> dict[int, bytes]:
    """Symlinks' targets by row. A record is `'PATH' -> 'TARGET'` and a newline; TARGET has its size."""
    found: dict[int, bytes] = {}
    place = 0
    symlinks = {mode for mode in set(modes) if stat.S_ISLNK(int(mode, 16))}
    for row in (row for row, mode in enumerate(modes) if mode in symlinks):
        head = b"'" + paths[row] + b"' -> '"
        begin = place + len(head)
        end = begin + int(sizes[row])
        if links[place:begin] != head or links[end : end + 2] != b"'\n":
            raise _bad("its symlinks do not fit its names")
        found[row] = links[begin:end]
        place = end + 2
    if place != len(links):
        raise _bad("it has more symlinks than names")
    return found


def _bad(why: str) -> ListingError:
    return ListingError(
        "A listing of files is not complete.",
        why=why,
        remedy="explore again; if it stays, check the engine's free disk: stagelens doctor",
    )
