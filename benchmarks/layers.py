"""Time to find what a layer of many whiteouts wastes, against `dive --json`.

    python benchmarks/layers.py [FILES] [WHITEOUTS] [ROUNDS]

Makes an image of FILES files (20,000 unless told), WHITEOUTS of which (2,000) its second layer removes one by
one. Both sides ask the engine for the image; nothing is stored from before. CPU seconds are those of the
program and of what it starts: other work on the machine changes them little.
"""

from __future__ import annotations

import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import stagelens
from stagelens.engine import connect
from stagelens.paths import cache_dir
from stagelens.snapshot.layers import read_layers

DOCKERFILE = """FROM diamol/base
RUN mkdir /many && cd /many && i=0 && while [ $i -lt {files} ]; do echo $i > $i; i=$((i+1)); done
RUN cd /many && i=0 && while [ $i -lt {files} ]; do rm $i; i=$((i+{step})); done
"""


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:]]
    files, whiteouts, rounds = [*numbers, *(20_000, 2_000, 3)[len(numbers) :]]
    engine = connect()
    tag = f"stagelens-bench-{secrets.token_hex(4)}"
    dive = str(cache_dir() / "dive" / "dive")
    best: dict[str, tuple[float, float]] = {}

    def timed(label: str, work: Callable[[], object]) -> None:
        started, cpu = time.perf_counter(), cpu_seconds()
        work()
        taken = time.perf_counter() - started, cpu_seconds() - cpu
        best[label] = min(best.get(label, taken), taken, key=lambda pair: pair[1])

    def ours() -> None:
        image = read_layers(engine.api, tag)
        print(f"{len(image.waste)} paths waste {image.wasted} bytes, efficiency {image.efficiency:.4f}")
        image.files_at(len(image.layers) - 1)

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(DOCKERFILE.format(files=files, step=files // whiteouts))
        stagelens.build(folder, engine=engine, tags=[tag])
        try:
            command = [dive, "--json", f"{folder}/dive.json", tag]
            settings = os.environ | {"DOCKER_HOST": engine.address}
            for _ in range(rounds):
                timed("stagelens", ours)
                timed("dive", lambda: subprocess.run(command, env=settings, check=True, capture_output=True))
        finally:
            engine.api.remove_image(tag, force=True)
    for label, (seconds, cpu) in best.items():
        print(f"{label:>10}: {seconds:8.2f} s, {cpu:8.2f} s of CPU")
    seconds, cpu = (best["dive"][kind] / best["stagelens"][kind] for kind in (0, 1))
    print(f"stagelens / dive: 1/{seconds:.0f}, of CPU 1/{cpu:.0f} (aim 1/60)")


if __name__ == "__main__":
    main()
