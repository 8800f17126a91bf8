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
_SECOND = 1_000_000_000


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
            read = (
                _tree(self._layers[number], number, key, folder)
                if folder and number in self._layers
                else None
            )
            if read is None:
                left[key] = folder
            else:
                rows.extend(read)
        if left:
            rows.extend(self._shells.trees(number, left))
        return rows


def _tree(layer: bytes, number: int, key: bytes, folder: Folder) -> Rows | None:
    """All below a folder that is the layer's own; None where it cannot be read here, or is another one."""
    rows = Rows()
    path = os.path.join(layer, key.replace(b"\0", b"/"))  # noqa: PTH118 - bytes
    waiting = [(path, b"%d\0%b\0" % (number, key))]
    try:
        root = os.lstat(path)
        if (root.st_ino, root.st_ctime_ns // _SECOND) != (folder.inode, folder.changed):
            return None
        while waiting:
            path, start = waiting.pop()
            if not _REDIRECTS.isdisjoint(os.listxattr(path, follow_symlinks=False)):
                return None
            with os.scandir(path) as entries:
                waiting += [(one.path, start + one.name + b"\0") for one in entries if _add(rows, start, one)]
    except (OSError, AttributeError):  # no right, gone meanwhile, or not Linux
        return None
    return rows


def _add(rows: Rows, start: bytes, entry: os.DirEntry[bytes]) -> bool:
    """Take an entry in; whether it is a folder."""
    status = entry.stat(follow_symlinks=False)
    mode = status.st_mode
    if stat.S_ISCHR(mode) and status.st_rdev == 0:
        return False  # a whiteout
    rows.keys.append(start + entry.name)
    rows.kinds.append(pack_mode(mode))
    rows.uids.append(status.st_uid)
    rows.gids.append(status.st_gid)
    rows.sizes.append(status.st_size)
    rows.mtimes.append(status.st_mtime_ns // _SECOND)
    rows.targets.append(os.readlink(entry.path) if stat.S_ISLNK(mode) else b"")  # noqa: PTH115 - bytes
    return stat.S_ISDIR(mode)
