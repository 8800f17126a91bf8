"""How long a machine without base images waits for them, and how large they are, against the aims.

    python benchmarks/images.py [--source replica|auto]

Starts a private engine of its own, empty, beside the running one (root on Debian or Ubuntu), with a Debian
that is not there yet either; packages come from the host's apt and pip, whose own caches it leaves alone.
All of it is removed at the end. `auto` asks the registry first, which is part of what a learner waits for.
Times vary with the package archive's: take the best of some runs on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from stagelens import engine as engines
from stagelens_course import images

FIRST = images.LESSON_IMAGES["01-multi-stage"]
Source = Literal["auto", "replica"]


@contextmanager
def empty_engine() -> Generator[engines.Engine]:
    """A private engine and caches of stagelens that begin with nothing."""
    with tempfile.TemporaryDirectory(prefix="slb-") as folder:
        before = os.environ.get("STAGELENS_HOME")
        os.environ["STAGELENS_HOME"] = folder
        private = engines.private_engine()
        try:
            engines.start_private(engine=private)
            engine = engines.connect(private.address, start=False)
            yield engine
            engine.api.close()
        finally:
            engines.stop_private(private)
            os.environ.pop("STAGELENS_HOME")
            if before is not None:
                os.environ["STAGELENS_HOME"] = before
            # Layers hold files that nobody may write.
            shutil.rmtree(Path(folder) / "state", ignore_errors=True)


def seconds(engine: engines.Engine, names: tuple[str, ...], source: Source) -> float:
    begun = time.monotonic()
    images.ensure(engine, names, source)
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", choices=("replica", "auto"), default="replica")
    source: Source = parser.parse_args().source
    with empty_engine() as engine:
        first = seconds(engine, FIRST, source)
    with empty_engine() as engine:
        every = seconds(engine, images.NAMES, source)
        again = seconds(engine, images.NAMES, source)
        rows = {row.name: row for row in images.describe(engine)}
        cpus = engine.info.cpus
    table = Table("what", "here", "aim", "")
    for what, found, aim in (
        ("the first lesson's image, empty engine", first, 45.0),
        ("all five, empty engine", every, 150.0),
        ("a second call", again, 1.0),
    ):
        table.add_row(what, f"{found:.2f} s", f"{aim:.0f} s", "met" if found <= aim else "MISSED")
    for name, row in rows.items():
        aim = 6_000_000 if name == "diamol/base" else None
        verdict = "" if aim is None else "met" if row.size <= aim else "MISSED"
        table.add_row(f"{name} ({row.origin})", decimal(row.size), decimal(aim) if aim else "", verdict)
    console = Console(width=100)
    console.print(table)
    console.print(f"{cpus} CPUs, source {source}")


if __name__ == "__main__":
    main()
