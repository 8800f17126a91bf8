"""`stagelens build` of a project whose steps are all cached against `docker build`, as ratios in one run.

    python benchmarks/start_up.py [ROUNDS] [FOLDER...]

Builds each folder, by default a small project with six steps, ROUNDS times (10) with each command in turn.
Times are the least of all rounds, since other work on the machine only ever adds. CPU is that of the command,
without the engine. The first builds, which fill the cache and compile the modules, are not measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from stagelens.engine import connect

DOCKERFILE = """\
FROM diamol/base AS builder
COPY src /src
RUN mkdir /app
RUN cp /src/f0 /app/f
FROM diamol/base
COPY --from=builder /app /app
CMD ["cat", "/app/f"]
"""
CLI = [os.environ.get("DOCKER_CLI", "/usr/bin/docker"), "build", "-q"]
OURS = [sys.executable, "-m", "stagelens_course", "build"]


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu: float


def run(command: list[str], environment: dict[str, str]) -> Run:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


def measure(folder: Path, rounds: int, environment: dict[str, str]) -> None:
    mine: list[Run] = []
    cli: list[Run] = []
    for _ in range(rounds + 1):
        cli.append(run([*CLI, str(folder)], environment))
        mine.append(run([*OURS, str(folder)], environment))
    a, b = (min(each.seconds for each in runs[1:]) for runs in (mine, cli))
    c, d = (min(each.cpu for each in runs[1:]) for runs in (mine, cli))
    print(f"{folder.name}: {a:.3f} s, docker build {b:.3f} s, ratio {a / b:.2f} (aim 2.0)")
    print(f"client CPU: {c:.3f} s, docker build {d:.3f} s", flush=True)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    engine = connect()
    environment = os.environ | {"DOCKER_BUILDKIT": "1", "DOCKER_HOST": engine.address}
    # With this variable, Python compiles each module at each start.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "six-steps")
        (folder / "src").mkdir(parents=True)
        (folder / "Dockerfile").write_text(DOCKERFILE)
        for number in range(50):
            (folder / f"src/f{number}").write_text(str(number))
        for each in [Path(path) for path in sys.argv[2:]] or [folder]:
            measure(each, rounds, environment)


if __name__ == "__main__":
    main()
