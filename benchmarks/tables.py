"""What listing a tree, reading the listing and comparing two cost, and bytes a file.

    python benchmarks/tables.py [FILES]

Makes a tree of FILES files (by default 40,000), lists it with the file lister as an exploration does, and
prints each step against one plain walk of the same tree. Needs Linux on amd64.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from stagelens.snapshot.changes import diff
from stagelens.snapshot.listing import Rows, read_rows
from stagelens.snapshot.table import FileTable
from stagelens.snapshot.tools import binary_path

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


def read_answer(answer: bytes) -> FileTable:
    rows, at = Rows(), 0
    while at < len(answer):
        kind, size = struct.unpack_from("<cI", answer, at)
        at += 5 + size
        if kind == b"R":
            rows.extend(read_rows(answer[at - size : at]))
    return rows.table()


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    with tempfile.TemporaryDirectory() as name, Console(stderr=True).status("measuring"):
        root = Path(name, "0")
        make(root, files)
        command, request = [binary_path("amd64"), name], struct.pack("<cI", b"t", 2) + b"0/"
        walked, _ = best(lambda: walk(root))
        listed, answer = best(
            lambda: subprocess.run(command, input=request, stdout=subprocess.PIPE, check=True).stdout
        )
    read, table = best(lambda: read_answer(answer))
    fewer = FileTable.from_entries(entry for entry in table if not entry.path.endswith("9/some-file-1.js"))
    compared, found = best(lambda: diff(table, fewer))
    tracemalloc.start()
    kept = read_answer(answer)
    memory, _ = tracemalloc.get_traced_memory()
    print(f"{len(kept)} entries; a plain walk takes {walked:.3f} s")
    for label, seconds in (("list", listed), ("read", read), (f"diff, {len(found.removed)} gone", compared)):
        print(f"{label:16} {seconds:.3f} s  {seconds / walked:.2f} of the walk")
    print(f"memory           {memory / len(kept):.0f} bytes a file")
    print(f"on disk          {len(kept.to_bytes()) / len(kept):.0f} bytes a file")
    print(f"listing          {len(answer) / len(kept):.0f} bytes a file")


if __name__ == "__main__":
    main()
