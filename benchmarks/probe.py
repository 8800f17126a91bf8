"""Time to have all stages' snapshots against `docker save` of the final image, as ratios in one run.

    python benchmarks/probe.py [FILES]

Makes a project whose first stage has FILES files (40,000 unless told), explores it from scratch, after an
edit of the last stage, and with nothing changed.
"""

from __future__ import annotations

import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import stagelens
from stagelens.engine import connect
from stagelens.snapshot import explore


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    name = f"stagelens-bench-{secrets.token_hex(4)}"
    engine = connect()
    loop = "for f in $(seq 100); do echo $d > $d/$f; done"
    script = f"mkdir /t && cd /t && for d in $(seq {files // 100}); do mkdir $d; {loop}; done"
    text = f"FROM diamol/base AS big\nRUN echo {name}; {script}\nFROM big\nRUN echo one > /last\nCMD true\n"
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        (context / "Dockerfile").write_text(text)
        trace = stagelens.build(context, engine=engine, tags=[name])
        save = statistics.median(
            timed(lambda: [len(chunk) for chunk in engine.api.get_image(name)]) for _ in range(3)
        )
        first = timed(lambda: explore(engine, context, trace))
        same = statistics.median(timed(lambda: explore(engine, context, trace)) for _ in range(3))
        (context / "Dockerfile").write_text(text.replace("echo one", "echo two"))
        edited = stagelens.build(context, engine=engine, tags=[name])
        after = timed(lambda: explore(engine, context, edited))
    engine.api.remove_image(name, force=True)
    print(f"files {files}, docker save {save:.2f} s")
    for label, seconds, aim in (
        ("first", first, 0.2),
        ("after an edit", after, 0.1),
        ("unchanged", same, 0.02),
    ):
        print(f"{label:>14}: {seconds:.2f} s, ratio {seconds / save:.3f} (aim {aim})")


if __name__ == "__main__":
    main()
