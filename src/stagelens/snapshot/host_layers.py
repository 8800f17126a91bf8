"""Layers of an engine on this machine, read as plain folders if this process may.

A folder is read only if it is proven to be the right one: it has the inode, the change time and the owner
that the container saw, and for a whole snapshot all folders at its top have. An engine in a user namespace
(rootless, `userns-remap`) maps owners: they differ here, and none of its layers is read. A file then costs a
third of what it costs through an overlay, and no answer is parsed. What cannot be read as the kernel would
show it is left to the file lister.
"""

from __future__ import annotations

import marshal
import os
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence

from stagelens.engine.mountinfo import visible_path
from stagelens.snapshot import layer_scan
from stagelens.snapshot.file_lister import Mounted
from stagelens.snapshot.layer_scan import Columns, TooMany, UnreadableLayer, scan_layers
from stagelens.snapshot.listing import Folder, Rows, pack_mode
from stagelens.snapshot.snapshot_walk import Lister

# A larger tree is scanned by a separate process, whose start costs about as much as this many entries.
_ENTRIES_HERE = 1500


def layer_folders(mounted: Mounted) -> Sequence[bytes]:
    """Return the layers of a mounted tree, uppermost first, as folders of this machine if they are here."""
    if mounted.overlay:
        # Newer engines mount an image's layer below a directory of the mount's own, which is empty.
        bare = mounted.upper and _is_empty(mounted.layers[0])
        return mounted.layers[1:] if bare else mounted.layers
    found: list[str | None] = []
    for layer in mounted.layers:  # one, mounted as it is
        major, minor, root = os.fsdecode(layer).split(":", 2)
        found.append(visible_path(f"{major}:{minor}", root))
    return [os.fsencode(path) for path in found if path]


def _is_empty(folder: bytes) -> bool:
    try:
        return not os.listdir(folder)  # noqa: PTH208 - bytes
    except OSError:
        return False


class HostLayers:
    """Lists what it can read on this machine, and leaves the rest to another lister.

    Parameters
    ----------
    lister
        Lists the trees in the engine.
    stacks
        The layers of snapshots, as `layer_folders` returns them.
    """

    def __init__(self, lister: Lister, stacks: Mapping[int, Sequence[bytes]]) -> None:
        self._lister = lister
        self._stacks = stacks
        self._tops: dict[int, dict[bytes, Folder]] = {}  # folders at snapshots' roots, as listed

    def contents(self, folders: Sequence[tuple[int, bytes]]) -> Rows:
        """List what is directly in folders (see `snapshot_walk.Lister`)."""
        rows = self._lister.contents(folders)
        self._tops |= {number: {} for number, key in folders if not key}
        for key, folder in rows.folders.items():
            if key.count(b"\0") == 1:
                number, _, name = key.partition(b"\0")
                self._tops[int(number)][name] = folder
        return rows

    def trees(self, number: int, folders: Mapping[bytes, Folder | None]) -> Rows:
        """List everything below folders (see `snapshot_walk.Lister`)."""
        rows = Rows()
        left: dict[bytes, Folder | None] = {}
        for key, folder in folders.items():
            found = self._folder(number, key, folder) if folder else self._root(number)
            columns = _scan(found)
            if columns is None:
                left[key] = folder
            else:
                rows.extend(_rows(columns, b"%d\0%b" % (number, key + b"\0" if key else b"")))
        if left:
            rows.extend(self._lister.trees(number, left))
        return rows

    def _folder(self, number: int, key: bytes, seen: Folder) -> list[bytes]:
        """Return the path here of a folder that only the uppermost layer has; nothing if it is another.

        With one link, several layers may have it (see `snapshot_walk`).
        """
        found = [_below(layer, key) for layer in self._stacks.get(number, ())[:1]]
        return [path for path in found if seen.links > 1 and _is(path, seen)]

    def _root(self, number: int) -> Sequence[bytes]:
        """Return a snapshot's layers if they show the same folders at the top as the container."""
        layers = self._stacks.get(number, ())
        if not layers:
            return ()
        if number not in self._tops:
            self.contents([(number, b"")])
        for name, folder in self._tops[number].items():
            places = [_below(layer, name) for layer in layers]
            if not _is(next(filter(os.path.lexists, places), b""), folder):
                return ()
        return layers if self._tops[number] else ()


def _below(layer: bytes, key: bytes) -> bytes:
    return os.path.join(layer, key.replace(b"\0", b"/"))  # noqa: PTH118 - bytes


def _is(path: bytes, seen: Folder) -> bool:
    try:
        here = os.lstat(path)
    except OSError:
        return False
    facts = (here.st_ino, here[stat.ST_CTIME], here.st_uid, here.st_gid)
    return path.startswith(b"/") and facts == (seen.inode, seen.changed, seen.uid, seen.gid)


def _scan(folders: Sequence[bytes]) -> Columns | None:
    """Scan everything below a folder of layers; None if there is no folder, or it cannot be read here."""
    if not folders:
        return None
    try:
        return scan_layers(folders, _ENTRIES_HERE)
    except TooMany:
        return _scan_in_process(folders)
    except (OSError, AttributeError, UnreadableLayer):  # no right, gone meanwhile, or not Linux
        return None


def _scan_in_process(folders: Sequence[bytes]) -> Columns | None:
    """Scan in another process, so that two scans run at once."""
    command = [sys.executable, "-I", "-S", layer_scan.__file__, *folders]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return marshal.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError, EOFError):
        return None  # what `scan_layers` raises, or this is an application with an interpreter inside


def _rows(columns: Columns, start: bytes) -> Rows:
    """Return columns as rows, with keys that begin with `start`."""
    keys, modes, uids, gids, sizes, mtimes, targets = columns
    kinds = {mode: pack_mode(mode) for mode in set(modes)}
    return Rows(
        keys=[start + key for key in keys],
        kinds=[kinds[mode] for mode in modes],
        uids=uids,
        gids=gids,
        sizes=sizes,
        mtimes=mtimes,
        targets=[targets.get(key, b"") for key in keys] if targets else [b""] * len(keys),
    )
