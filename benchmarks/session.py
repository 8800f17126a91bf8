"""A context through our session against `docker build` with BuildKit, as ratios in one run.

    python benchmarks/session.py [FILES] [MEGABYTES] [ROUNDS]

Makes a context of FILES files (10,000 unless told) of MEGABYTES in all (500), sends it whole, then with one
file edited, by us and by the docker CLI in turn. The Dockerfile mounts the context and copies nothing, so
that what is timed is the transfer. Times are the least of ROUNDS (5), since other work on the
machine only ever adds; CPU is that of the client alone.
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
from dataclasses import dataclass
from pathlib import Path

from stagelens.buildkit import BuildRequest, FileSync, FolderSource, Session, shared_key, solve
from stagelens.engine import Engine, connect

CLI = "/usr/bin/docker"


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu: float


def timed(work: Callable[[], object], who: int) -> Run:
    def cpu() -> float:
        usage = resource.getrusage(who)
        return usage.ru_utime + usage.ru_stime

    before, begun = cpu(), time.perf_counter()
    work()
    return Run(time.perf_counter() - begun, cpu() - before)


def ours(engine: Engine, context: Path, images: set[str]) -> int:
    """Build; the bytes that our side of the session sent, STATs included."""
    files = FileSync({"context": FolderSource(context), "dockerfile": FolderSource(context)})
    with Session(engine.api, [files], shared_key=shared_key(context)) as session:
        images.add(solve(engine.api, BuildRequest(), session=session.id) or "")
        return session.sent_bytes


def theirs(engine: Engine, context: Path, images: set[str]) -> None:
    environment = os.environ | {"DOCKER_BUILDKIT": "1", "DOCKER_HOST": engine.address}
    done = subprocess.run([CLI, "build", "-q", context], env=environment, check=True, capture_output=True)
    images.add(done.stdout.decode().strip())


def make(root: Path, files: int, size: int) -> None:
    content = os.urandom(size)
    for number in range(files):
        folder = root / f"d{number // 1000}" / f"s{number // 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}.bin").write_bytes(number.to_bytes(8, "big") + content[8:])
    name = secrets.token_hex(4)
    text = f"FROM diamol/base\nRUN --mount=type=bind,target=/c : {name} && test -e /c/Dockerfile\n"
    (root / "Dockerfile").write_text(text)


def edit(root: Path) -> None:
    file = root / "d0" / "s0" / "f7.bin"
    file.write_bytes(secrets.token_bytes(file.stat().st_size))


def main() -> None:
    given = [int(argument) for argument in sys.argv[1:]]
    files, megabytes, rounds = given + [10_000, 500, 5][len(given) :]
    engine = connect()
    images: set[str] = set()
    with tempfile.TemporaryDirectory() as name:
        mine, cli = Path(name, "mine"), Path(name, "cli")
        for root in (mine, cli):
            make(root, files, megabytes * 1_000_000 // files)
        sent = [0]
        children = resource.RUSAGE_CHILDREN
        a = timed(lambda: sent.append(ours(engine, mine, images)), resource.RUSAGE_SELF)
        b = timed(lambda: theirs(engine, cli, images), children)
        first = sent[-1]
        report("whole context", [a], [b])
        edited: tuple[list[Run], list[Run]] = ([], [])
        for _ in range(rounds):
            edit(mine)
            edit(cli)
            edited[0].append(timed(lambda: sent.append(ours(engine, mine, images)), resource.RUSAGE_SELF))
            edited[1].append(timed(lambda: theirs(engine, cli, images), children))
        report("one file edited", *edited)
        print(f"bytes sent: {first:,} whole, {sent[-1]:,} edited: {sent[-1] / first:.4f} (aim 0.01)")
    for image in images:
        engine.api.remove_image(image, force=True)


def report(label: str, mine: list[Run], cli: list[Run]) -> None:
    a, b = (min(run.seconds for run in runs) for runs in (mine, cli))
    c, d = (min(run.cpu for run in runs) for runs in (mine, cli))
    print(f"{label:>16}: {a:.2f} s, docker build {b:.2f} s, ratio {a / b:.2f} (aim 1.0)")
    print(f"{'client CPU':>16}: {c:.2f} s, docker build {d:.2f} s, ratio {c / d:.2f}")


if __name__ == "__main__":
    main()
