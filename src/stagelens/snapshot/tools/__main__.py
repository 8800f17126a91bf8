"""Build the file lister for every platform: `python -m stagelens.snapshot.tools [FOLDER] [ARCHITECTURE …]`.

Needs the `dev` extra: ziglang brings a C compiler with musl for every platform.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from stagelens.snapshot.tools import HERE, PLATFORMS, binary_path

_FLAGS = ("-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror", "-fno-sanitize=all", "-Wl,--build-id=none")


def build(folder: Path, architectures: Iterable[str] = PLATFORMS) -> None:
    """Compile `lister.c` for some architectures, by default all, and write the programs into `folder`.

    Raises
    ------
    subprocess.CalledProcessError
        If the compiler fails.
    """
    for architecture in architectures:
        out = folder / binary_path(architecture).name
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", PLATFORMS[architecture]]
        subprocess.run([*compiler, *_FLAGS, "-o", str(out), "lister.c"], cwd=HERE, check=True)


if __name__ == "__main__":
    build(HERE, sys.argv[1:] or PLATFORMS)
