"""How often stagelens is right about projects: yours, or the corpus of the tests.

    python benchmarks/world.py PATH… [--edits 10] [--seed WORD] [--jobs 1] [--host ADDRESS] [--quick]

Every folder at or below PATH with a Dockerfile is a project. Each is copied (yours is not changed), built,
and explored; every step needs a vertex of BuildKit, and the files after every instruction are compared with
the export of a build that ends there. Then come random edits: the forecast before each build and the verdict
after it are held against what BuildKit did. A file `world.toml` in PATH may give options, a table for each
project by its path from PATH (see tests/world/corpus/world.toml).

Prints a row for each project, and each difference:

- steps: steps tied to their vertex
- points: instructions whose files equal the export
- forecasts: right ones; in parentheses those that left it open ("depends")
- verdicts: right ones
- CLI: time of a cached `stagelens build` against `docker build`, best of three
- seconds: of all builds and comparisons

Exits with 1 where a verdict, a point or a tie is wrong.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from docker.errors import NotFound
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))

from stagelens_testing.world.checks import FileFacts, Result
from stagelens_testing.world.edits import random_edits
from stagelens_testing.world.projects import Project, find_projects
from stagelens_testing.world.runner import CannotBuild, check_project

from stagelens.engine import Engine, connect

ROUNDS = 3
COLUMNS = ("project", "steps", "points", "forecasts", "verdicts", "CLI", "seconds")


class World:
    """The projects of one run on one engine."""

    def __init__(self, engine: Engine, options: argparse.Namespace, progress: Progress) -> None:
        self._engine = engine
        self._options = options
        self._progress = progress
        self._task = progress.add_task("", total=None)
        self._bases: dict[str, FileFacts] = {}

    def check(self, project: Project) -> tuple[Result | str, float | None]:
        """Return the result, or why the project does not build; and the ratio against the docker CLI."""

        def note(text: str) -> None:
            self._progress.update(self._task, description=escape(f"{project.name}: {text}"))

        edits = random_edits(f"{self._options.seed} {project.name}", self._options.edits)
        try:
            result = check_project(
                self._engine, project, edits, note, bases=self._bases, points=not self._options.quick
            )
        except CannotBuild as error:
            return str(error), None
        note("time")
        plain = not (project.secrets or project.remote or project.newer)
        return result, self._ratio(project) if plain and not self._options.quick else None

    def _ratio(self, project: Project) -> float | None:
        docker = next((path for path in ("/usr/bin/docker", shutil.which("docker")) if path), None)
        if docker is None:
            return None
        options = [f"--build-arg={name}={value}" for name, value in project.build_args.items()]
        options += [f"--target={project.target}"] if project.target else []
        ours = [sys.executable, "-m", "stagelens_course", "build", *options]
        theirs = [docker, "build", "--quiet", *options]
        return self._seconds(ours, project) / self._seconds(theirs, project)

    def _seconds(self, command: list[str], project: Project) -> float:
        """Return the time of a build from the cache."""
        tag = f"stagelens-world-{secrets.token_hex(4)}"
        settings = os.environ | {"DOCKER_HOST": self._engine.address, "DOCKER_BUILDKIT": "1"}
        times: list[float] = []
        try:
            for _ in range(ROUNDS + 1):  # the first one is the build itself
                begun = time.perf_counter()
                subprocess.run(
                    [*command, "--tag", tag, str(project.folder)],
                    env=settings,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=True,
                )
                times.append(time.perf_counter() - begun)
        finally:
            with suppress(NotFound):
                self._engine.api.remove_image(tag, force=True)
        return min(times[1:])


def row(result: Result, ratio: float | None) -> tuple[str, ...]:
    unsure = f" ({result.unsure})" if result.unsure else ""
    return (
        result.name,
        f"{result.tied}/{result.steps}",
        f"{result.equal}/{result.points}",
        f"{result.right}/{result.forecasts}{unsure}",
        f"{result.confirmed}/{result.verdicts}",
        "" if ratio is None else f"{ratio:.1f}",
        f"{result.seconds:.1f}",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="How often stagelens is right about projects.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a project, or a folder of some")
    parser.add_argument("--edits", type=int, default=10, help="edits of each project (10)")
    parser.add_argument("--seed", default="1", help="decides the edits: the same word, the same edits")
    parser.add_argument("--jobs", type=int, default=1, help="projects at once (1; more disturb the times)")
    parser.add_argument("--host", help="the engine's address")
    parser.add_argument("--quick", action="store_true", help="no comparison of files, no times of the CLI")
    options = parser.parse_args()
    engine = connect(options.host)
    projects = [project for path in options.paths for project in find_projects(path)]
    table = Table(*COLUMNS)
    total, ratios, unbuilt = Result("all"), list[float](), 0
    console = Console(width=None if sys.stdout.isatty() else 120)
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        world = World(engine, options, progress)
        for project, (result, ratio) in zip(projects, pool.map(world.check, projects), strict=True):
            if isinstance(result, str):
                unbuilt += 1
                table.add_row(project.name, "does not build", *("",) * 5)
                console.print(f"{project.name} does not build: {result}", markup=False, highlight=False)
                continue
            for problem in result.problems:
                console.print(problem, markup=False, highlight=False, soft_wrap=True)
            table.add_row(*row(result, ratio))
            ratios += [ratio] if ratio is not None else []
            total.add(result)
    table.add_section()
    table.add_row(*row(total, sum(ratios) / len(ratios) if ratios else None))
    console.print(table)
    built = len(projects) - unbuilt
    console.print(
        f"{built} of {len(projects)} projects built, {total.builds} builds, {total.failed} edits failed"
    )
    wrong = total.steps - total.tied + total.points - total.equal + total.verdicts - total.confirmed
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
