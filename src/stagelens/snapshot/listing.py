"""How a probe lists a tree, and how its listing is read.

File names may hold newlines, quotes and any byte but NUL, and busybox's `stat` ends its records with a
newline. So names and facts come apart: `find -print0` gives the names, `find -exec stat` without names
gives one line of numbers each, both in the same order (the tree is mounted read-only). A symlink's target
follows in a third stream, cut by its length, which the numbers hold. No name can forge a record.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from stagelens.errors import StagelensError
from stagelens.snapshot.entry import Entry, Kind

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


class ListingError(StagelensError):
    """A probe's listing is cut short or does not fit together."""


def list_command(root: str, out: str) -> str:
    """Shell commands (busybox) that list the tree at `root` into files in the folder `out`."""
    return (
        f"mkdir -p {out} && cd {root} && find . -xdev -print0 > {out}/names"
        f" && find . -xdev -exec stat -c '%f %u %g %s %Y' {{}} + > {out}/facts"
        f" && find . -xdev -type l -exec stat -c '%N' {{}} + > {out}/links"
    )


def read_listing(names: bytes, facts: bytes, links: bytes) -> Iterator[Entry]:
    """The entries of a listing in the order of the tree walk, without the root itself.

    Raises
    ------
    ListingError: the three parts do not fit together.
    """
    paths = names.split(b"\0")
    lines = facts.split(b"\n")
    if paths.pop() or lines.pop() or len(paths) != len(lines):
        raise ListingError(
            "A probe's listing is not complete.",
            why=f"{len(paths)} names, {len(lines)} records",
            remedy="explore again; if it stays, check the engine's free disk: stagelens doctor",
        )
    place = 0
    for path, line in zip(paths, lines, strict=True):
        mode_text, uid, gid, size_text, mtime = line.split(b" ")
        mode, size = int(mode_text, 16), int(size_text)
        kind = _KINDS.get(stat.S_IFMT(mode), "file")
        target: bytes | None = None
        if kind == "symlink":
            target, place = _target(links, place, path, size)
        if path == b".":
            continue
        yield Entry(
            path=path.removeprefix(b"./").decode("utf-8", "surrogateescape"),
            kind=kind,
            mode=stat.S_IMODE(mode),
            uid=int(uid),
            gid=int(gid),
            size=size,
            mtime=int(mtime),
            link_target=None if target is None else target.decode("utf-8", "surrogateescape"),
        )


def _target(links: bytes, place: int, path: bytes, size: int) -> tuple[bytes, int]:
    """The record `'PATH' -> 'TARGET'` and a newline, at `place`; TARGET has `size` bytes."""
    head = b"'" + path + b"' -> '"
    begin = place + len(head)
    end = begin + size
    if links[place:begin] != head or links[end : end + 2] != b"'\n":
        raise ListingError("A probe's list of symlinks does not fit its names.")
    return links[begin:end], end + 2
