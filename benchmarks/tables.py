"""What listing a tree, reading the listing and comparing two cost, and bytes a file.

    python benchmarks/tables.py [FILES]

Makes a tree of FILES files (40,000 unless told), lists it as a probe does, with busybox where it is there,
and prints each step against one plain walk of the same tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from stagelens.snapshot.diff import diff
from stagelens.snapshot.listing import PROLOGUE, list_command, read_listing
from stagelens.snapshot.table import FileTable

Result = TypeVar("Result")
ROUNDS = 5


def best(work: Callable[[], Result]) -> tuple[float, Result]:
    """The shortest of some runs, in seconds: what the machine's other work disturbed least."""
    times: list[float] = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begun)
    return min(times), result


def make(root: Path, files: int) -> None:
    for number in range(files // 10):
        folder = root / "node_modules" / f"package-{number // 100}" / f"lib-{number}"
        folder.mkdir(parents=True)
        (folder / "current").symlink_to("some-file-1.js")
        for name in range(9):
            (folder / f"some-file-{name}.js").touch()


def walk(root: Path) -> int:
    return sum(
        len([os.lstat(os.path.join(folder, name)) for name in (*folders, *names)])  # noqa: PTH118
        for folder, folders, names in os.walk(root)
    )


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    busybox = shutil.which("busybox")
    with tempfile.TemporaryDirectory() as name, Console(stderr=True).status("measuring"):
        root, out, tools = Path(name, "root"), Path(name, "out"), Path(name, "bin")
        make(root, files)
        tools.mkdir()
        if busybox is None:
            sys.exit("busybox is not there; next: apt-get install busybox-static")
        for tool in ("sh", "find", "stat", "wc", "cat"):
            (tools / tool).symlink_to(busybox)
        script = PROLOGUE.encode() + list_command([bytes(root)], bytes(out), deep=True)
        shell = [str(tools / "sh")]
        walked, _ = best(lambda: walk(root))
        listed, printed = best(
            lambda: (
                subprocess.run(
                    shell, input=script, stdout=subprocess.PIPE, check=True, env={"PATH": str(tools)}
                ).stdout
            )
        )
    line, _, rest = printed.partition(b"\n")
    _, names, facts, _ = map(int, line.split())
    parts = rest[:names], rest[names : names + facts], rest[names + facts :], bytes(root) + b"/"
    read, table = best(lambda: read_listing(*parts).table())
    fewer = FileTable.from_entries(entry for entry in table if not entry.path.endswith("9/some-file-1.js"))
    compared, found = best(lambda: diff(table, fewer))
    tracemalloc.start()
    kept = read_listing(*parts).table()
    memory, _ = tracemalloc.get_traced_memory()
    print(f"{len(kept)} entries; a plain walk takes {walked:.3f} s")
    for label, seconds in (("list", listed), ("read", read), (f"diff, {len(found.removed)} gone", compared)):
        print(f"{label:16} {seconds:.3f} s  {seconds / walked:.2f} of the walk")
    print(f"memory           {memory / len(kept):.0f} bytes a file")
    print(f"on disk          {len(kept.to_bytes()) / len(kept):.0f} bytes a file")
    print(f"listing          {len(rest) / len(kept):.0f} bytes a file")


if __name__ == "__main__":
    main()
