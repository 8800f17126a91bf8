"""Grading a class: two workers compared with one, and with a plain papermill loop without a shared cache.

    python benchmarks/grading.py [SUBMISSIONS] [--configurations overhead,1,2,plain] [--rounds ROUNDS]

Creates SUBMISSIONS (40 by default) for multi-stage-go: correct ones in several forms, wrong ones, and ones
that do not build. Where possible, each worker has a dedicated grading engine with one core for each
submission; the plain loop uses the usual engine with all cores and half as many submissions.

Each configuration starts without a build cache: a variable after every FROM, which is part of the cache key
of a RUN, separates its cache from others. In the plain loop, each submission has a different value and
therefore never finds another's RUN steps. The plain loop starts a new kernel for each notebook and runs nbval
over all notebooks in one pytest process at the end, next to recorded reports, as a grading run does.

Prints seconds, ratios, and the core seconds that the whole machine was busy for each submission: more than
usual means that other programs ran at the same time.

One round runs all configurations in turn. The ratios of several rounds are ratios of medians, so that changes
of the machine's speed (by neighbors of a virtual machine) affect all configurations. Before each round, the
benchmark measures how much work two cores do at once compared with one: two workers cannot be faster than
that.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import nbformat
import papermill
import psutil

from stagelens import engine as engines
from stagelens_course import images
from stagelens_course.classroom.runner import GradingRun, LocalScheduler, grading_notebook
from stagelens_course.grading import engine_pool, load_exercise, required_images
from stagelens_course.grading.notebook import MIME, RECORD, SUBMISSION

EXERCISE = "multi-stage-go"
OVERHEAD, ONE, TWO, PLAIN = CONFIGURATIONS = ("overhead", "1", "2", "plain")
LABELS = {OVERHEAD: "grader overhead", ONE: "1 worker", TWO: "2 workers", PLAIN: "plain loop"}
Engines = Callable[[int], AbstractContextManager[Sequence[str]]]
COLUMNS = ("configuration", "submissions", "seconds", "seconds for each", "core seconds for each")
HEADER = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
INTAKE_SECONDS = 0.0004  # for each submission, in one process
# About half a second of work for a core and its memory, which compilers depend on, too.
WORK = """
import random, time
numbers = [random.random() for _ in range(500_000)]
start = time.perf_counter()
sorted(numbers)
sorted(map(str, numbers))
print(time.perf_counter() - start)
"""
# The code of a notebook that grades nothing: its time is the overhead of the grader.
EMPTY_GRADING = """
from stagelens_course.grading import GradeReport
from stagelens_course.grading.notebook import GradeDisplay, recorded_report

GradeDisplay(recorded_report() or GradeReport(exercise, (), 0.0, 0.0, 0.0))
"""


def answers() -> list[str]:
    """Return ten Dockerfiles as in a class: six correct, two wrong, and two that do not build."""
    task = load_exercise(EXERCISE)
    right = (task.solution / "Dockerfile").read_text(encoding="utf-8")
    start = (task.folder / "Dockerfile").read_text(encoding="utf-8")
    forms = [
        right,
        right.replace("AS builder", "AS compile").replace("--from=builder", "--from=compile"),
        right.replace("COPY main.go", "RUN true\nCOPY main.go", 1),
        right.replace("go build", "go build -ldflags=-s", 1),
    ]
    broken = right.replace("go build", "go biuld", 1)
    return [*forms, forms[0], forms[1], start, start, broken, "FROM no-such-base\nCOPY . .\n"]


def submissions(folder: Path, count: int, salt: Callable[[int], str]) -> Path:
    """Write a class; `salt` returns the value that separates submissions' caches, as no LABEL would."""
    task, forms = load_exercise(EXERCISE), answers()
    for number in range(count):
        project = folder / f"learner{number:04}"
        shutil.copytree(task.folder, project)
        lines: list[str] = []
        for line in forms[number % len(forms)].splitlines():
            lines.append(line)
            if line.upper().startswith("FROM "):
                lines.append(f"ENV BENCH={salt(number)}")
        text = "\n".join(lines) + f"\n# the answer of learner {number}\n"
        (project / "Dockerfile").write_text(text, encoding="utf-8")
    return folder


def run_class(count: int, notebook: str, addresses: Sequence[str]) -> float:
    """Return the seconds from intake to all reports, including nbval, with a worker for each engine."""
    salt = secrets.token_hex(6)
    with tempfile.TemporaryDirectory() as name:
        folder = submissions(Path(name) / "class", count, lambda number: salt)
        workers = len(addresses)
        scheduler = LocalScheduler(workers, engines=addresses)
        out = Path(name) / "out"
        start = time.perf_counter()
        run = GradingRun(folder, load_exercise(EXERCISE), out, scheduler, notebook, workers=workers)
        found = run.run()
        seconds = time.perf_counter() - start
    assert not found.with_status("error"), [result.error for result in found.with_status("error")]
    return seconds


def plain_loop(count: int, address: str) -> float:
    """Return the seconds of a papermill loop with the same notebook and no shared steps, including nbval."""
    salt = secrets.token_hex(6)
    notebook = nbformat.reads(grading_notebook(), as_version=4)
    notebook.metadata["papermill"] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = submissions(Path(name) / "class", count, lambda number: f"{salt}-{number}")
        start = time.perf_counter()
        for project in sorted(folder.iterdir()):
            work = Path(name) / "work" / project.name
            shutil.copytree(project, work / SUBMISSION)
            papermill.execute_notebook(
                notebook,
                str(work / "grading.ipynb"),
                {"submission": SUBMISSION, "exercise": EXERCISE, "engine": address},
                cwd=str(work),
                progress_bar=False,
                # A kernel warns about its TCP ports at the start, and about the interrupt at the end.
                extra_arguments=["--log-level=CRITICAL"],
            )
            record(work / "grading.ipynb")
        command = ["-m", "pytest", "-q", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, *command, "-c", os.devnull, "."],
            cwd=Path(name) / "work",
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stdout[-2000:]
    return seconds


def record(executed: Path) -> None:
    """Write the report of an executed notebook next to it, for the comparison by nbval."""
    cells = nbformat.read(executed, as_version=4).cells
    shown = [output["data"][MIME] for cell in cells for output in cell.get("outputs", []) if "data" in output]
    (executed.parent / RECORD).write_text(json.dumps({"report": shown[-1]}), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the grading of a class in several configurations.")
    parser.add_argument("submissions", nargs="?", type=int, default=40)
    parser.add_argument(
        "--configurations", default=",".join(CONFIGURATIONS), help="some of these, separated by commas"
    )
    parser.add_argument("--rounds", type=int, default=1, help="the number of times to run all configurations")
    options = parser.parse_args()
    chosen: list[str] = options.configurations.split(",")
    if unknown := set(chosen) - set(CONFIGURATIONS):
        parser.error(f"unknown configuration: {', '.join(sorted(unknown))}")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    logging.getLogger("papermill").setLevel(logging.ERROR)
    running = {private.folder for private in engines.grading_engines() if private.pid() is not None}
    names = required_images(load_exercise(EXERCISE))
    usual = engines.connect()
    images.ensure(usual, names)
    address = engine_pool.DEDICATED if engine_pool.isolation_warning() is None else usual.address
    lease_engines = partial(engine_pool.lease_engines, names, address)
    try:
        with lease_engines(2, say=print) as addresses:
            if (note := engine_pool.isolation_warning(addresses)) is not None:
                print(f"note: {note}")
            # An engine's first build reads the base images from the disk.
            run_class(2, grading_notebook(), addresses)
        compare(options.submissions, chosen, options.rounds, usual.address, lease_engines)
    finally:
        for private in engines.grading_engines():
            if private.folder not in running:
                engines.stop_private(private)


def compare(count: int, chosen: Sequence[str], rounds: int, usual: str, lease_engines: Engines) -> None:
    """Run the configurations and print their times.

    `usual` is the address of the engine for the plain loop. `lease_engines` provides the engines for a
    number of workers.
    """

    def graded(size: int, notebook: str, workers: int) -> float:
        with lease_engines(workers) as addresses:
            return run_class(size, notebook, addresses)

    empty = nbformat.reads(grading_notebook(), as_version=4)
    empty.cells = [empty.cells[1], nbformat.v4.new_code_cell(EMPTY_GRADING, id="nothing")]
    # The plain loop is the slowest and grades half as many: the benchmark takes about five minutes.
    runs: dict[str, tuple[int, Callable[[int], float]]] = {
        OVERHEAD: (count, lambda n: graded(n, nbformat.writes(empty), 1)),
        ONE: (count, lambda n: graded(n, grading_notebook(), 1)),
        TWO: (count, lambda n: graded(n, grading_notebook(), 2)),
        PLAIN: (max(1, count // 2), lambda n: plain_loop(n, usual)),
    }
    each: dict[str, list[float]] = {label: [] for label in CONFIGURATIONS if label in chosen}
    for _ in range(rounds):
        print(f"two cores at once do {parallel_speedup():.2f} times the work of one")
        print(HEADER)
        for label, seconds_each in each.items():
            size, run = runs[label]
            before = busy_core_seconds()
            seconds = run(size)
            seconds_each.append(seconds / size)
            cores = (busy_core_seconds() - before) / size
            print(
                f"| {LABELS[label]} | {size} | {seconds:.1f} | {seconds_each[-1]:.2f} | {cores:.2f} |",
                flush=True,
            )
    if rounds > 1 and {ONE, TWO} <= each.keys():
        found = " ".join(f"{one / two:.2f}" for one, two in zip(each[ONE], each[TWO], strict=True))
        print(f"2 workers against 1, round by round: {found}")
    print_ratios({label: statistics.median(seconds_each) for label, seconds_each in each.items()})


def parallel_speedup() -> float:
    """Return the work of two cores at once, in units of one core's work while the others are idle."""

    def work_seconds(programs: int) -> float:
        command = [sys.executable, "-c", WORK]
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(programs)]
        return statistics.mean(float(program.communicate()[0]) for program in started)

    alone = statistics.median(work_seconds(1) for _ in range(3))
    return 2 * alone / statistics.median(work_seconds(2) for _ in range(3))


def busy_core_seconds() -> float:
    """Return the core seconds that the whole machine was busy until now."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq


def print_ratios(each: dict[str, float]) -> None:
    """Print the ratios and the model, as far as the chosen configurations allow."""
    if {ONE, TWO} <= each.keys():
        print(f"2 workers against 1: {each[ONE] / each[TWO]:.2f} (goal 1.7)")
        print_model(each[ONE], each[TWO])
    if {PLAIN, TWO} <= each.keys():
        print(f"2 workers against a plain loop: {each[PLAIN] / each[TWO]:.2f} (goal 2)")
    if {OVERHEAD, ONE} <= each.keys():
        print(f"o = {each[OVERHEAD]:.2f} s, g = {each[ONE] - each[OVERHEAD]:.2f} s")


def print_model(one: float, two: float) -> None:
    """Print the table of docs/explanation/scaling.md, from seconds by one worker and by two."""
    print("| class | 1 machine, 2 workers | 10 workers | 50 workers |\n|---|---|---|---|")
    for size in (40, 1_000, 10_000):
        minutes = [size * (INTAKE_SECONDS + each) / 60 for each in (two, one / 10, one / 50)]
        print(f"| {size:,} | {' | '.join(f'{m:.1f} min' for m in minutes)} |")


if __name__ == "__main__":
    main()
