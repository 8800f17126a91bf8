"""Mounts below a private engine's folder: those that its dockerd made, and what somebody else mounted there.

A person may give the engine a disk of its own, mounted at its folder or at `data`: that is never taken away.
"""

from __future__ import annotations

import os
import posixpath
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stagelens.engine.network import program

_DEVICES = Path("/sys/block")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mountinfo: the folder `root` of a `device`, seen at `point`.

    `kind` is the file system's, `options` are its own, as they are written; `read_only` is of the point.
    """

    id: int
    parent: int
    device: str
    root: str
    point: str
    source: str
    kind: str
    options: str
    read_only: bool


def read(text: str) -> list[Mount]:
    """The mounts that a mountinfo lists, as they were made (format: proc(5))."""
    found: list[Mount] = []
    for line in filter(None, text.split("\n")):
        before, _, after = line.partition(" - ")
        number, parent, device, root, point, flags = before.split(" ")[:6]
        kind, source, options = after.split(" ", 2)
        places = _plain(root), _plain(point), _plain(source)
        read_only = "ro" in flags.split(",")
        found.append(Mount(int(number), int(parent), device, *places, kind, options, read_only))
    return found


def _here() -> list[Mount]:
    """What this process sees mounted; the names are the system's own, surrogates and all."""
    return read(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))


def seen_at(device: str, root: str) -> str | None:
    """Where this process may find a folder of a device, both as a mountinfo has them; None if nowhere.

    It may be another folder, where something is mounted on top.
    """
    with suppress(OSError):
        for mount in _here():
            inside = posixpath.relpath(root, mount.root)
            if mount.device == device and inside.split("/")[0] != "..":
                return posixpath.normpath(posixpath.join(mount.point, inside))
    return None


def take_away(data: Path, run: Path, disk: Path) -> None:
    """Unmount what an engine with this data folder, run folder and disk file left, the innermost first.

    A busy one goes when its last user does.
    """
    umount = program("umount")
    for mount in own(_here(), data, run, disk):
        if umount:
            subprocess.run([umount, "--lazy", mount.point], capture_output=True, check=False)


def own(mounts: Sequence[Mount], data: Path, run: Path, disk: Path) -> list[Mount]:
    """Those that dockerd made, or that lay the disk, in the order in which they can be unmounted."""
    by_id = {mount.id: mount for mount in mounts}
    places = os.path.realpath(data), os.path.realpath(run / "exec")
    found: list[Mount] = []
    # What somebody else has mounted on top or inside would go too: then the one below stays.
    held: set[int] = set()
    for mount in reversed(mounts):
        ours = _made_by_dockerd(mount, by_id.get(mount.parent), *places)
        if _is_disk(mount, disk) or (ours and mount.id not in held):
            found.append(mount)
        else:
            held.add(mount.parent)
    return found


def _made_by_dockerd(mount: Mount, parent: Mount | None, data: str, sockets: str) -> bool:
    if _below(mount.point, sockets):
        return True
    if mount.point != data and not _below(mount.point, data):
        return False
    parts = posixpath.relpath(mount.point, data).split("/")
    if len(parts) > 1:
        # data/overlay2/ID/merged, data/containers/ID/mounts/shm; a volume's may be anybody's.
        return parts[0] != "volumes"
    # dockerd makes a mount of its data folder, and of a driver's, onto itself.
    return parent is not None and (mount.device, mount.root) == (
        parent.device,
        posixpath.normpath(posixpath.join(parent.root, posixpath.relpath(mount.point, parent.point))),
    )


def is_attached(disk: Path) -> bool:
    """Whether a loop device stands on this file: it is mounted, or will not be any more in a moment."""
    return any(_stands_on(device, disk) for device in _DEVICES.glob("loop*"))


def _is_disk(mount: Mount, disk: Path) -> bool:
    if not mount.source.startswith("/dev/loop"):
        return False
    return _stands_on(_DEVICES / posixpath.basename(mount.source), disk)


def _stands_on(device: Path, disk: Path) -> bool:
    with suppress(OSError, ValueError):
        return Path((device / "loop/backing_file").read_text().rstrip("\n")).samefile(disk)
    return False


def _below(point: str, folder: str) -> bool:
    return point.startswith(folder + "/")


def _plain(field: str) -> str:
    """Blank, tab, newline and backslash are octal in mountinfo (proc(5), fstab(5))."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
