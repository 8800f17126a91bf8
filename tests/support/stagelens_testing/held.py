"""What this process holds that is ours: other tests' things may come and go meanwhile."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def open_below(folder: Path) -> list[str]:
    """Where each open descriptor of a file or folder below `folder`, or of itself, leads to."""
    found: list[str] = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            target = str(Path("/proc/self/fd", number).readlink())
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # a path that only a test of ours makes
                found.append(number)
            elif error.errno != errno.ENOENT:  # closed since it was listed
                raise
        else:
            if target == str(folder) or target.startswith(f"{folder}/"):
                found.append(target)
    return found
