"""What walking, matching and packing a build context costs, as counts and ratios in one run.

    python benchmarks/context.py [FILES]

Makes a tree of FILES files (10,000 unless told) in folders of 100 and prints each step's CPU time against
`os.walk` with an `lstat` of each name, which is the least that any sender has to do.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from docker.utils.build import PatternMatcher

from stagelens.buildkit.context import Contents, Matcher, tar_stream, walk

ROUNDS = 5
FIFTY = [f"**/x{number}*.tmp" for number in range(20)] + [f"gone{number}/**" for number in range(20)]
FIFTY += ["*.log", "**/*.pyc", "**/__pycache__", ".git", "d1/s?", "!d1/s1", "!d1/s2", "d2", "!d2/**/f1*", "z"]


def cpu(work: Callable[[], object]) -> float:
    """The shortest of some runs in seconds of this process: others' work on the machine counts little."""
    times: list[float] = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


def least(root: Path) -> int:
    return sum(
        os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
        for folder, folders, files in os.walk(root)
        for name in (*folders, *files)
    )


def read_all(root: Path) -> int:
    with Contents(root) as contents:
        return sum(len(c) for e in walk(root) if e.is_regular for c in contents.read_chunks(e.path))


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number in range(files // 100):
            folder = root / f"d{number % 10}" / f"s{number}"
            folder.mkdir(parents=True)
            for file in range(100):
                (folder / f"f{file}.txt").write_bytes(b"x" * 1000)
        paths = [entry.path for entry in walk(root)]
        texts = [os.fsdecode(path) for path in paths]
        matcher = Matcher(FIFTY)
        base = cpu(lambda: least(root))
        print(f"{len(paths)} paths; os.walk and lstat {base:.3f} s")
        theirs = PatternMatcher(FIFTY)
        for label, work in (
            ("walk", lambda: list(walk(root))),
            ("walk, 50 patterns", lambda: list(walk(root, exclude=FIFTY))),
            ("walk, one file", lambda: list(walk(root, follow=["d3/s3/f3.txt"]))),
            ("match alone", lambda: [matcher.matches(path) for path in paths]),
            ("docker-py's match", lambda: [theirs.matches(text) for text in texts]),
            ("walk and read", lambda: read_all(root)),
            ("tar", lambda: sum(map(len, tar_stream(root)))),
        ):
            seconds = cpu(work)
            print(f"{label:>20}: {seconds:.3f} s, ratio {seconds / base:.2f}")


if __name__ == "__main__":
    main()
