"""Mounts below a private engine's folder: those of its dockerd, apart from those of somebody else.

A person may mount a disk for the engine at its folder or at `data`; that mount is never removed.
"""

from __future__ import annotations

import os
import posixpath
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stagelens.engine.mountinfo import Mount, current_mounts
from stagelens.engine.private.network import find_program

_DEVICES = Path("/sys/block")


def unmount_all(data: Path, run_dir: Path, disk: Path) -> None:
    """Unmount what an engine left, the innermost mount first.

    A mount that is in use goes when its last user does.

    Parameters
    ----------
    data
        The engine's data folder.
    run_dir
        The folder of its sockets.
    disk
        The file of its limited disk.
    """
    umount = find_program("umount")
    for mount in engine_mounts(current_mounts(), data, run_dir, disk):
        if umount:
            subprocess.run([umount, "--lazy", mount.point], capture_output=True, check=False)


def engine_mounts(mounts: Sequence[Mount], data: Path, run_dir: Path, disk: Path) -> list[Mount]:
    """Select the mounts that dockerd made, and that of its disk, in an order in which they can be unmounted.

    Parameters
    ----------
    mounts
        All mounts, in the order in which they were mounted.
    data
        The engine's data folder.
    run_dir
        The folder of its sockets.
    disk
        The file of its limited disk.

    Returns
    -------
    list of Mount
        The engine's mounts, the innermost first.
    """
    by_id = {mount.id: mount for mount in mounts}
    folders = os.path.realpath(data), os.path.realpath(run_dir / "exec")
    found: list[Mount] = []
    # A mount under somebody else's mount stays, since unmounting it would remove theirs too.
    in_use: set[int] = set()
    for mount in reversed(mounts):
        by_dockerd = _made_by_dockerd(mount, by_id.get(mount.parent), *folders)
        if _is_disk(mount, disk) or (by_dockerd and mount.id not in in_use):
            found.append(mount)
        else:
            in_use.add(mount.parent)
    return found


def is_attached(disk: Path) -> bool:
    """Return whether a loop device uses this file: it is mounted, or was until a moment ago."""
    return any(_is_backed_by(device, disk) for device in _DEVICES.glob("loop*"))


def _made_by_dockerd(mount: Mount, parent: Mount | None, data: str, sockets: str) -> bool:
    if _below(mount.point, sockets):
        return True
    if mount.point != data and not _below(mount.point, data):
        return False
    parts = posixpath.relpath(mount.point, data).split("/")
    if len(parts) > 1:
        # data/overlay2/ID/merged, data/containers/ID/mounts/shm; but anybody may mount a volume.
        return parts[0] != "volumes"
    # dockerd mounts its data folder, and that of a storage driver, onto itself.
    return parent is not None and (mount.device, mount.root) == (
        parent.device,
        posixpath.normpath(posixpath.join(parent.root, posixpath.relpath(mount.point, parent.point))),
    )


def _is_disk(mount: Mount, disk: Path) -> bool:
    if not mount.source.startswith("/dev/loop"):
        return False
    return _is_backed_by(_DEVICES / posixpath.basename(mount.source), disk)


def _is_backed_by(device: Path, disk: Path) -> bool:
    with suppress(OSError, ValueError):
        return Path((device / "loop/backing_file").read_text().rstrip("\n")).samefile(disk)
    return False


def _below(point: str, folder: str) -> bool:
    return point.startswith(folder + "/")
