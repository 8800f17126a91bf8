"""Layers of an engine on this machine, read as the folders that they are, where this process may.

Only a folder that is proven to be the one asked for is read: it has the inode and the change time that the
container saw. A file then costs a third of what it costs through an overlay, and no text is parsed. Layers
are read as the kernel would show them: an overlay's marks for removed files are left out, and where a folder
is a renamed one's (`redirect`), which other layers add to, nothing is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence

from stagelens.snapshot.listing import Folder, Rows, pack_mode
from stagelens.snapshot.walk import Lister

_REDIRECTS = {"trusted.overlay.redirect", "user.overlay.redirect"}
_FORMAT = 0o170000  # the bits of a mode that say what a file is


class HostLayers:
    """Lists as `shells` do, and itself what it can read here; `layers` has each snapshot's uppermost one."""

    def __init__(self, shells: Lister, layers: Mapping[int, bytes]) -> None:
        self._shells = shells
        self._layers = layers

    def contents(self, folders: Sequence[tuple[int, bytes]]) -> Rows:
        """See `walk.Lister`."""
        return self._shells.contents(folders)

    def trees(self, number: int, folders: Mapping[bytes, Folder | None]) -> Rows:
        """See `walk.Lister`."""
        rows = Rows()
        left: dict[bytes, Folder | None] = {}
        for key, folder in folders.items():
            layer = self._layers.get(number)
            read = _tree(layer, number, key, folder) if layer and folder else None
            if read is None:
                left[key] = folder
            else:
                rows.extend(read)
        if left:
            rows.extend(self._shells.trees(number, left))
        return rows


def _tree(layer: bytes, number: int, key: bytes, folder: Folder) -> Rows | None:
    """All below a folder that is the layer's own; None where it cannot be read here, or is another one."""
    path = os.path.join(layer, key.replace(b"\0", b"/"))  # noqa: PTH118 - bytes
    try:
        root = os.lstat(path)
        if (root.st_ino, root[stat.ST_CTIME]) != (folder.inode, folder.changed):
            return None
        return _read(path, b"%d\0%b\0" % (number, key))
    except (OSError, AttributeError):  # no right, gone meanwhile, or not Linux
        return None


def _read(path: bytes, start: bytes) -> Rows | None:
    """All below a path, with keys that begin with `start`; None where other layers add to a folder there.

    Numbers are turned into columns all at once: a file costs the system's call and little besides.
    """
    keys: list[bytes] = []
    found: list[os.stat_result] = []
    targets: dict[int, bytes] = {}
    waiting = [(path, start)]
    while waiting:
        path, start = waiting.pop()
        if not _REDIRECTS.isdisjoint(os.listxattr(path, follow_symlinks=False)):
            return None
        with os.scandir(path) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                kind = status.st_mode & _FORMAT
                if kind == stat.S_IFCHR and status.st_rdev == 0:
                    continue  # a whiteout
                key = start + entry.name
                if kind == stat.S_IFDIR:
                    waiting.append((entry.path, key + b"\0"))
                elif kind == stat.S_IFLNK:
                    targets[len(keys)] = os.readlink(entry.path)  # noqa: PTH115 - bytes
                keys.append(key)
                found.append(status)
    modes, _, _, _, uids, gids, sizes, _, mtimes, _ = zip(*found, strict=True) if found else [()] * 10
    return Rows(
        keys=keys,
        kinds=[pack_mode(mode) for mode in modes],
        uids=list(uids),
        gids=list(gids),
        sizes=list(sizes),
        mtimes=list(mtimes),
        targets=[targets.get(row, b"") for row in range(len(keys))] if targets else [b""] * len(keys),
    )
