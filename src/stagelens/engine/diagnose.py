"""Why a dockerd did not start: its log's telling lines, and a remedy for causes that are known."""

from __future__ import annotations

import re
from pathlib import Path

from stagelens.text import block

_LOG_BYTES = 64 * 1024

# Pattern in dockerd's log -> what to do about it.
_KNOWN = (
    (
        r"no space left on device",
        "free some disk space: stagelens doctor shows where the engine keeps its data",
    ),
    (
        r"cgroup.*(not mounted|isn't mounted|mountpoint does not exist)|no such file.*cgroup",
        "mount the cgroup file system: mount -t cgroup2 none /sys/fs/cgroup",
    ),
    (
        r"prior storage driver .* failed|driver not supported|error initializing graphdriver",
        "this folder's file system takes no overlay: set STAGELENS_HOME to a folder on ext4 or xfs, "
        "or install fuse-overlayfs (vfs, the last choice, is slow)",
    ),
    (
        r"iptables.*(not found|permission denied|can't initialize)",
        "install iptables and run as root, in a container only with --privileged",
    ),
    (r"operation not permitted", "run as root outside of a container, or in one started with --privileged"),
    (r"address already in use|is still running", "stagelens engine stop, then start it again"),
    (r"cannot unmarshal|unable to configure the Docker daemon", "stagelens engine stop, then start it again"),
)


def telling_lines(log: Path, count: int = 3) -> str:
    """The last fatal or error lines of a log, else simply its last lines; no terminal escapes, bounded."""
    lines = _tail(log)
    telling = [line for line in lines if re.search(r"level=(fatal|error)|failed|panic", line)]
    picked = (telling or lines)[-count:]
    return "\n".join(block(line, 500) for line in picked)


def remedy(log: Path) -> str:
    """What to do about the first known cause in the log, else how to read the log."""
    return advice(telling_lines(log, count=8)) or "stagelens engine logs"


def advice(words: str) -> str | None:
    """What to do about the first known cause in the words of dockerd or of the system."""
    found = (what for pattern, what in _KNOWN if re.search(pattern, words, re.IGNORECASE))
    return next(found, None)


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _LOG_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
