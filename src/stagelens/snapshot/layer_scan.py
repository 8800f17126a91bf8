"""Everything below a folder of an overlay's layers on this machine, in columns.

The module is a program too: `python layer_scan.py LAYER...` prints the columns with marshal. A scan holds
Python's lock most of its time, so threads gain nothing from a second core. The program starts in some ms,
since it imports only what the interpreter has loaded.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence

# Entries sorted by their keys: keys as `table.path_key` has them, st_mode, st_uid, st_gid, st_size, st_mtime
# in whole seconds, and symlinks' targets by their keys.
Columns = tuple[list[bytes], list[int], list[int], list[int], list[int], list[int], dict[bytes, bytes]]

_FORMAT = 0o170000  # the bits of a mode that say what a file is


class TooMany(Exception):
    """A folder has more entries than the limit."""


class UnreadableLayer(Exception):
    """A layer cannot be read alone: a folder was renamed, others add to it, or it has newer marks."""


def scan_layers(layers: Sequence[bytes], most: int = sys.maxsize) -> Columns:
    """List everything below a folder of layers.

    Layers are read as the kernel shows them (overlayfs.rst, fs/overlayfs/readdir.c): an entry of an upper
    layer hides those of the same name below it, but folders are merged. Numbers are turned into columns all
    at once: a file costs the system call and little more.

    Parameters
    ----------
    layers
        The folder in each layer that has it, uppermost first.
    most
        How many entries are listed at most.

    Returns
    -------
    Columns
        The entries, sorted here, since several scans run at once.

    Raises
    ------
    TooMany
        If there are more than `most` entries.
    UnreadableLayer
        If the layers cannot be read as folders.
    OSError, AttributeError
        If this process may not read them, or this is not Linux.
    """
    keys: list[bytes] = []
    found: list[os.stat_result] = []
    targets: dict[bytes, bytes] = {}
    waiting = [(layers, b"")]
    while waiting:
        folders, start = waiting.pop()
        for entry, below in _entries(folders):
            status = entry.stat(follow_symlinks=False)
            kind = status.st_mode & _FORMAT
            if kind == stat.S_IFCHR and status.st_rdev == 0:
                continue  # a whiteout
            key = start + entry.name
            if kind == stat.S_IFDIR:
                waiting.append(([entry.path, *below], key + b"\0"))
            elif kind == stat.S_IFLNK:
                targets[key] = os.readlink(entry.path)  # noqa: PTH115 - bytes
            keys.append(key)
            found.append(status)
        if len(keys) > most:
            raise TooMany
    order = sorted(range(len(keys)), key=keys.__getitem__)
    rows = [found[row] for row in order]
    modes, _, _, _, uids, gids, sizes, _, mtimes, _ = (
        map(list, zip(*rows, strict=True)) if rows else [[]] * 10
    )
    return [keys[row] for row in order], modes, uids, gids, sizes, mtimes, targets


def _entries(folders: Sequence[bytes]) -> Iterator[tuple[os.DirEntry[bytes], Sequence[bytes]]]:
    """Yield each name's uppermost entry, and its folders in lower layers."""
    folders = _shown(folders)
    if len(folders) == 1:
        with os.scandir(folders[0]) as entries:
            for entry in entries:
                yield entry, ()
        return
    uppermost: dict[bytes, os.DirEntry[bytes]] = {}
    below: dict[bytes, list[bytes]] = {}
    closed: set[bytes] = set()  # names that hide entries of the same name in lower layers
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in entries:
                first = uppermost.setdefault(entry.name, entry)
                if entry.name in closed:
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    closed.add(entry.name)
                elif entry is not first:
                    below.setdefault(entry.name, []).append(entry.path)
    for name, entry in uppermost.items():
        yield entry, below.get(name, ())


def _shown(folders: Sequence[bytes]) -> Sequence[bytes]:
    """Return the folders down to the first opaque one, which hides those below it."""
    for index, folder in enumerate(folders):
        for name in os.listxattr(folder, follow_symlinks=False):
            owner, _, mark = name.partition(".overlay.")
            if owner not in ("trusted", "user") or mark not in ("redirect", "opaque"):
                continue
            if mark == "redirect" or os.getxattr(folder, name, follow_symlinks=False) != b"y":
                raise UnreadableLayer
            return folders[: index + 1]
    return folders


if __name__ == "__main__":
    import marshal

    marshal.dump(scan_layers([os.fsencode(layer) for layer in sys.argv[1:]]), sys.stdout.buffer)
