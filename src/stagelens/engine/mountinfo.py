"""The mounts of a Linux process, read from its mountinfo."""

from __future__ import annotations

import posixpath
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/PID/mountinfo (proc(5)).

    Attributes
    ----------
    id
        The mount's number.
    parent
        The number of the mount that it is mounted on.
    device
        The device, as MAJOR:MINOR.
    root
        The folder of the device that is mounted.
    point
        The mount point.
    source
        What was mounted, such as /dev/vda.
    kind
        The type of the file system.
    options
        The file system's options, unparsed.
    read_only
        Whether the mount point is read-only.
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


def parse_mountinfo(text: str) -> list[Mount]:
    """Return the mounts in the text of a mountinfo file, in the order in which they were mounted."""
    found: list[Mount] = []
    for line in filter(None, text.split("\n")):
        before, _, after = line.partition(" - ")
        number, parent, device, root, point, flags = before.split(" ")[:6]
        kind, source, options = after.split(" ", 2)
        paths = _unescape(root), _unescape(point), _unescape(source)
        read_only = "ro" in flags.split(",")
        found.append(Mount(int(number), int(parent), device, *paths, kind, options, read_only))
    return found


def current_mounts() -> list[Mount]:
    """Return the mounts of this process; bytes of names that are not UTF-8 become surrogates."""
    return parse_mountinfo(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))


def visible_path(device: str, root: str) -> str | None:
    """Return a path at which this process may see a folder of a device, or None.

    The path leads to another folder if something is mounted on top.

    Parameters
    ----------
    device
        The device, as in a mountinfo file.
    root
        The folder of the device, as in a mountinfo file.

    Returns
    -------
    str or None
        The path.
    """
    with suppress(OSError):
        for mount in current_mounts():
            relative = posixpath.relpath(root, mount.root)
            if mount.device == device and relative.split("/")[0] != "..":
                return posixpath.normpath(posixpath.join(mount.point, relative))
    return None


def _unescape(field: str) -> str:
    """Replace the octal escapes of blank, tab, newline and backslash (proc(5), fstab(5))."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
