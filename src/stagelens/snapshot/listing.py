"""How a probe lists a tree, and how its listing is read.

File names may hold newlines, quotes and any byte but NUL, and busybox's `stat` ends its records with a
newline. So names and facts come apart: find's `-print0` gives the names, its `-exec stat` without names
gives one line of numbers each, both in the same order. A symlink's target
follows in a third stream, cut by its length, which the numbers hold. No name can forge a record.
"""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Sequence

from stagelens.errors import StagelensError
from stagelens.snapshot.entry import Kind
from stagelens.snapshot.table import FileTable, pack_kind

PARTS = ("names", "facts", "links")
_KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
# Mode (hexadecimal), uid, gid, size and mtime, as `list_command` has stat print them.
_FACTS = re.compile(rb"(?:[0-9a-f]{1,8} \d{1,10} \d{1,10} \d{1,20} -?\d{1,19}\n)*+")
# What no name of `find .` holds: empty, `.` and `..` parts.
_UNCLEAN = (b"//", b"/./", b"/../", b"/\0", b"/.\0", b"/..\0")


class ListingError(StagelensError):
    """A probe's listing is cut short or does not fit together."""


def list_command(root: str, out: str, busybox: str = "") -> str:
    """Shell commands (busybox) that list the tree at `root` into files in the folder `out`.

    `busybox` are words that run an applet, where none is on the PATH. The tree is walked once, since walking
    it costs more than all the rest; `stat` is run for thousands of files at a time, its output apart from
    the names that find itself writes.
    """
    run = f"{busybox} " if busybox else ""
    facts = f"exec {run}stat -c '%f %u %g %s %Y' \"$@\" >&3"
    links = f'exec {run}stat -c %N "$@" >&4'
    walk = f'{run}find . -xdev -print0 -exec {run}sh -c "$F" f {{}} + -type l -exec {run}sh -c "$L" l {{}} +'
    return (
        f"{run}mkdir -p {out} && cd {root} && F={shlex.quote(facts)} L={shlex.quote(links)}"
        f" && export F L && {walk} > {out}/names 3> {out}/facts 4> {out}/links"
    )


def read_listing(names: bytes, facts: bytes, links: bytes) -> FileTable:
    """The tree of a listing, without the root itself.

    Works on whole columns and makes no `Entry`, since a build has a listing for each of its instructions.

    Raises
    ------
    ListingError: the three parts are cut short, do not fit together, or are not what a probe writes.
    """
    paths = names.split(b"\0")
    count = facts.count(b"\n")
    if paths.pop() or not count or len(paths) != count or not _FACTS.fullmatch(facts):
        raise _bad(f"{len(paths)} names, {count} records")
    if paths[0] != b"." or any(part in names for part in _UNCLEAN):
        raise _bad("its names are not those of one tree")
    numbers = facts.split()
    modes, uids, gids, sizes, mtimes = (numbers[column::5] for column in range(5))
    targets = _targets(links, paths, modes, sizes)
    keys = [path[2:].replace(b"/", b"\0") for path in paths]
    order = sorted(range(1, len(keys)), key=keys.__getitem__)
    if len(set(keys)) != len(keys) or not all(path.startswith(b"./") for path in paths[1:]):
        raise _bad("its names are not those of one tree")
    kinds = {mode: _kind(int(mode, 16)) for mode in set(modes)}
    owners = {owner: int(owner) for owner in {*uids, *gids}}
    try:
        return FileTable.from_columns(
            keys=[keys[row] for row in order],
            kinds=[kinds[modes[row]] for row in order],
            uids=[owners[uids[row]] for row in order],
            gids=[owners[gids[row]] for row in order],
            sizes=[int(sizes[row]) for row in order],
            mtimes=[int(mtimes[row]) for row in order],
            targets=[targets.get(row, b"") for row in order],
        )
    except ValueError as error:
        raise _bad(str(error)) from error


def _kind(mode: int) -> int:
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
        "A probe's listing is not complete.",
        why=why,
        remedy="explore again; if it stays, check the engine's free disk: stagelens doctor",
    )
