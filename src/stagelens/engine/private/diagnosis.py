"""Why a dockerd did not start: the error lines of its log, and remedies for known causes."""

from __future__ import annotations

import re
from pathlib import Path

from stagelens.text import block

_LOG_BYTES = 64 * 1024

# Pattern in dockerd's log -> remedy.
_KNOWN = (
    (
        r"no space left on device",
        "free some disk space: stagelens doctor shows where the engine stores its data",
    ),
    (
        r"cgroup.*(not mounted|isn't mounted|mountpoint does not exist)|no such file.*cgroup",
        "mount the cgroup file system: mount -t cgroup2 none /sys/fs/cgroup",
    ),
    (
        r"prior storage driver .* failed|driver not supported|error initializing graphdriver",
        "this folder's file system does not support overlay: set STAGELENS_HOME to a folder on ext4 or xfs, "
        "or install fuse-overlayfs (vfs, the last choice, is slow)",
    ),
    (
        r"iptables.*(not found|permission denied|can't initialize)",
        "install iptables and run as root; in a container only with --privileged",
    ),
    (r"operation not permitted", "run as root outside of a container, or in one started with --privileged"),
    (r"address already in use|is still running", "stagelens engine stop, then start it again"),
    (r"cannot unmarshal|unable to configure the Docker daemon", "stagelens engine stop, then start it again"),
)


def error_lines(log: Path, count: int = 3) -> str:
    """Return the last error lines of a log, or its last lines if there are none.

    Parameters
    ----------
    log
        The log file; it may be missing.
    count
        How many lines to return.

    Returns
    -------
    str
        The lines, each of limited length and without control characters.
    """
    lines = _tail(log)
    errors = [line for line in lines if re.search(r"level=(fatal|error)|failed|panic", line)]
    picked = (errors or lines)[-count:]
    return "\n".join(block(line, 500) for line in picked)


def log_remedy(log: Path) -> str:
    """Return the remedy for the first known cause in a log, or the command that shows the log."""
    return known_remedy(error_lines(log, count=8)) or "stagelens engine logs"


def known_remedy(message: str) -> str | None:
    """Return the remedy for the first known cause in a message of dockerd or of the system, or None."""
    found = (remedy for pattern, remedy in _KNOWN if re.search(pattern, message, re.IGNORECASE))
    return next(found, None)


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _LOG_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
