"""Time to have all stages' snapshots against `docker save`, `dive --json` and a cached `docker build`.

    python benchmarks/probe.py [FILES] [ROUNDS] [INSTRUCTIONS] [--tiny]

Makes a project like the chapter's access-log: a stage that unpacks FILES files (33,000 unless told) as an
npm install does, and a last one that copies them; both begin with diamol/node, whose own files come on top.
INSTRUCTIONS further RUNs are put before the last line. Sizes are those of JavaScript packages (most of some
kB, a few of hundreds); with `--tiny` all files have two bytes. Explores it for the first time (only the base
image may be known), with nothing changed and after an edit of the last stage. Each of the ROUNDS runs all of
them in turn; the smallest of each are compared.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import stagelens
from stagelens.buildkit.gateway import ContainerProcess, Gateway
from stagelens.engine import Engine, connect
from stagelens.paths import cache_dir
from stagelens.snapshot import explore
from stagelens.snapshot.listing import Rows
from stagelens.snapshot.table import FileTable

DOCKERFILE = """FROM diamol/node AS builder
WORKDIR /{name}/src
COPY src/package.json .
RUN --mount=type=bind,source=modules.tar,target=/modules.tar tar xf /modules.tar

FROM diamol/node
EXPOSE 80
CMD ["node", "server.js"]
WORKDIR /{name}/app
COPY --from=builder /{name}/src/node_modules/ node_modules/
{more}COPY src/ .
RUN echo {edit} > built
"""
# What is compared with what, and the aim.
AIMS = (
    ("first", "save", 0.12),
    ("edited", "save", 0.05),
    ("unchanged", "save", 0.02),
    ("first", "dive", 0.12),
    ("edited", "dive", 0.05),
    ("unchanged", "dive", 0.02),
    ("cached build", "cached docker build", 1.0),
    ("cached stagelens build", "cached docker build", 1.0),
)


def make_modules(archive: Path, files: int, tiny: bool) -> None:
    chance = random.Random(1)
    pool = chance.randbytes(1 << 19).hex().encode()
    left, package = files, 0
    with tarfile.open(archive, "w") as tar:
        while left > 0:
            count = min(left, chance.randint(5, 60))
            for number in range(count):
                size = 2 if tiny else min(int(chance.lognormvariate(7.4, 1.4)), 400_000)
                folder = chance.choice(("", "lib/", "dist/", "src/", "test/"))
                member = tarfile.TarInfo(f"node_modules/package-{package}/{folder}{number}.js")
                member.size = size
                place = chance.randrange(len(pool) - size)
                tar.addfile(member, BytesIO(pool[place : place + size]))
            left, package = left - count, package + 1


class Counted:
    """Counts the probes' calls of the engine, the files that they list and the bytes that come of it."""

    def __init__(self) -> None:
        self.calls = self.files = self.bytes = 0
        call, read, table = Gateway.call, ContainerProcess.read, Rows.table

        def called(gateway: Gateway, method: str, *given: float) -> Any:
            self.calls += 1
            return call(gateway, method, *given)

        def table_(rows: Rows) -> FileTable:
            self.files += len(rows.keys)
            return table(rows)

        def read_(process: ContainerProcess, count: int) -> bytes:
            self.bytes += count
            return read(process, count)

        Gateway.call, ContainerProcess.read, Rows.table = called, read_, table_

    def take(self) -> str:
        said = f"{self.calls} calls, {self.files} files listed, {self.bytes / 1e6:.1f} MB"
        self.calls = self.files = self.bytes = 0
        return said


class Bench:
    def __init__(self, engine: Engine, context: Path, more: int) -> None:
        self.engine = engine
        self.context = context
        self.more = "".join(f"RUN echo {number} > step{number}\n" for number in range(more))
        self.seconds: dict[str, list[float]] = {}
        self.said: dict[str, str] = {}
        self.counted = Counted()
        self.keep = context.parent / "keep"

    def write(self, name: str, edit: str) -> None:
        text = DOCKERFILE.format(name=name, more=self.more, edit=edit)
        (self.context / "Dockerfile").write_text(text)

    def timed(self, label: str, work: Callable[[], Any]) -> None:
        begun = time.perf_counter()
        work()
        self.seconds.setdefault(label, []).append(time.perf_counter() - begun)
        self.said[label] = self.counted.take()

    def process(self, label: str, *command: str, **environment: str) -> None:
        settings = os.environ | {"DOCKER_HOST": self.engine.address} | environment
        self.timed(
            label,
            lambda: subprocess.run(command, env=settings, cwd=self.context, check=True, capture_output=True),
        )

    def round(self, tag: str, name: str) -> None:
        self.write(name, "one")
        trace = stagelens.build(self.context, engine=self.engine, tags=[tag])
        self.timed("save", lambda: [len(chunk) for chunk in self.engine.api.get_image(tag)])
        explored = {"cache_folder": self.keep}
        shutil.rmtree(self.keep, ignore_errors=True)
        self.timed("first", lambda: explore(self.engine, self.context, trace, **explored))
        again = stagelens.build(self.context, engine=self.engine, tags=[tag])
        self.timed("unchanged", lambda: explore(self.engine, self.context, again, **explored))
        self.write(name, "two")
        edited = stagelens.build(self.context, engine=self.engine, tags=[tag])
        self.timed("edited", lambda: explore(self.engine, self.context, edited, **explored))
        self.timed("cached build", lambda: stagelens.build(self.context, engine=self.engine, tags=[tag]))
        python = [sys.executable, "-m", "stagelens_course", "build", "-t", tag, "."]
        self.process("cached stagelens build", *python)
        if docker := next((path for path in ("/usr/bin/docker", shutil.which("docker")) if path), None):
            self.process("cached docker build", docker, "build", "-t", tag, ".", DOCKER_BUILDKIT="1")
        if (dive := cache_dir() / "dive" / "dive").exists():
            self.process("dive", str(dive), "--json", str(self.context.parent / "dive.json"), tag)


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    files, rounds, more = [*numbers, *(33_000, 3, 0)[len(numbers) :]]
    engine = connect()
    tag = f"stagelens-bench-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / "context"
        (context / "src").mkdir(parents=True)
        (context / "src/server.js").write_text("console.log('hello')\n")
        (context / "src/package.json").write_text("{}\n")
        make_modules(context / "modules.tar", files, "--tiny" in sys.argv)
        bench = Bench(engine, context, more)
        try:
            for number in range(rounds):
                bench.round(tag, f"{tag}-{number}")
            size = engine.api.inspect_image(tag)["Size"]
        finally:
            engine.api.remove_image(tag, force=True)
    print(f"{files} files copied, {size / 1e6:.0f} MB, {more} more instructions, {rounds} rounds, minima:")
    for label, seconds in bench.seconds.items():
        said = f"  ({bench.said[label]})" if label in ("first", "edited", "unchanged") else ""
        print(f"  {label:>22}: {min(seconds):7.3f} s{said}")
    for ours, theirs, aim in AIMS:
        if theirs in bench.seconds:
            ratio = min(bench.seconds[ours]) / min(bench.seconds[theirs])
            print(f"  {ours:>22} / {theirs}: {ratio:.3f} (aim {aim})")


if __name__ == "__main__":
    main()
