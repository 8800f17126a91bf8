"""Grading a class: two workers against one, and against a plain papermill loop with no shared cache.

    python benchmarks/grading.py [SUBMISSIONS] [--ways own,1,2,plain] [--rounds ROUNDS]

Makes SUBMISSIONS (40 unless told) of multi-stage-go: right ones in several forms, wrong ones and broken ones.
Workers have grading engines of their own where they can be started, with a core for each submission; the
plain loop has the usual engine with all cores, and half as many submissions.
Each way of grading begins without a build cache: a variable after every FROM, which is part of what a RUN's
result is found by, keeps it apart from the others. In the plain loop every submission has a value of its own,
so that none finds another's RUN steps. It has a new kernel for each notebook, and nbval over all of them in
one pytest at the end, beside the recorded reports as ours. Prints seconds and ratios, and what the whole
machine was busy for each submission, in core seconds: more than usual means that something else ran, too.

A round is all ways, one after another; the ratios of several rounds are of medians, so that a machine which
gets slower meanwhile (a virtual one has neighbours) does so for all ways. Before each round it is asked what
two of its cores at once do of one's work: no two workers can do more.
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
OWN, ONE, TWO, PLAIN = WAYS = ("own", "1", "2", "plain")
LABELS = {OWN: "grader's own work", ONE: "1 worker", TWO: "2 workers", PLAIN: "plain loop"}
Places = Callable[[int], AbstractContextManager[Sequence[str]]]
HEADER = "| way | submissions | seconds | seconds for each | core seconds for each |\n|---|---|---|---|---|"
INTAKE = 0.0004  # seconds for each submission, by one process
# Half a second or so of a core, and of memory: what compilers, too, wait for.
WORK = """
import random, time
numbers = [random.random() for _ in range(500_000)]
begun = time.perf_counter()
sorted(numbers)
sorted(map(str, numbers))
print(time.perf_counter() - begun)
"""
# What a notebook that grades nothing has to say: the rest of its time is the grader's own.
NOTHING = """
from stagelens_course.grading import GradeReport
from stagelens_course.grading.notebook import GradeDisplay, recorded_report

GradeDisplay(recorded_report() or GradeReport(exercise, (), 0.0, 0.0, 0.0))
"""


def answers() -> list[str]:
    """Dockerfiles in the proportions of a class: of ten, six right, two wrong and two broken."""
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
    """A class; `salt` gives the value that keeps a submission's cache apart. (A LABEL would not.)"""
    task, forms = load_exercise(EXERCISE), answers()
    for number in range(count):
        place = folder / f"learner{number:04}"
        shutil.copytree(task.folder, place)
        lines: list[str] = []
        for line in forms[number % len(forms)].splitlines():
            lines.append(line)
            if line.upper().startswith("FROM "):
                lines.append(f"ENV BENCH={salt(number)}")
        text = "\n".join(lines) + f"\n# the answer of learner {number}\n"
        (place / "Dockerfile").write_text(text, encoding="utf-8")
    return folder


def class_run(count: int, notebook: str, addresses: Sequence[str]) -> float:
    """Seconds of a class from its intake to all reports, nbval included, with a worker for each engine."""
    salt = secrets.token_hex(6)
    with tempfile.TemporaryDirectory() as name:
        folder = submissions(Path(name) / "class", count, lambda number: salt)
        workers = len(addresses)
        scheduler = LocalScheduler(workers, engines=addresses)
        out = Path(name) / "out"
        begun = time.perf_counter()
        run = GradingRun(folder, load_exercise(EXERCISE), out, scheduler, notebook, workers=workers)
        found = run.run()
        seconds = time.perf_counter() - begun
    assert not found.with_status("error"), [result.error for result in found.with_status("error")]
    return seconds


def plain_loop(count: int, address: str) -> float:
    """Seconds of the same notebook in a loop of papermill's own, no step shared, and of nbval over all."""
    salt = secrets.token_hex(6)
    notebook = nbformat.reads(grading_notebook(), as_version=4)
    notebook.metadata["papermill"] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = submissions(Path(name) / "class", count, lambda number: f"{salt}-{number}")
        begun = time.perf_counter()
        for place in sorted(folder.iterdir()):
            work = Path(name) / "work" / place.name
            shutil.copytree(place, work / SUBMISSION)
            papermill.execute_notebook(
                notebook,
                str(work / "grading.ipynb"),
                {"submission": SUBMISSION, "exercise": EXERCISE, "engine": address},
                cwd=str(work),
                progress_bar=False,
                # A kernel warns of its TCP ports at its start, and of the interrupt that it is ended with.
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
        seconds = time.perf_counter() - begun
    assert done.returncode == 0, done.stdout[-2000:]
    return seconds


def record(executed: Path) -> None:
    """Write the report that a notebook shows beside it, for nbval's run to compare with."""
    cells = nbformat.read(executed, as_version=4).cells
    shown = [output["data"][MIME] for cell in cells for output in cell.get("outputs", []) if "data" in output]
    (executed.parent / RECORD).write_text(json.dumps({"report": shown[-1]}), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Grading a class, way by way.")
    parser.add_argument("submissions", nargs="?", type=int, default=40)
    parser.add_argument("--ways", default=",".join(WAYS), help="some of these, with commas")
    parser.add_argument("--rounds", type=int, default=1, help="how often all ways are run")
    given = parser.parse_args()
    chosen: list[str] = given.ways.split(",")
    if unknown := set(chosen) - set(WAYS):
        parser.error(f"no such way: {', '.join(sorted(unknown))}")
    if given.rounds < 1:
        parser.error("there has to be a round")
    logging.getLogger("papermill").setLevel(logging.ERROR)
    running = {private.folder for private in engines.grading_engines() if private.pid() is not None}
    names = required_images(load_exercise(EXERCISE))
    usual = engines.connect()
    images.ensure(usual, names)
    own = engine_pool.DEDICATED if engine_pool.isolation_warning() is None else usual.address
    lease = partial(engine_pool.lease_engines, names, own)
    try:
        with lease(2, say=print) as addresses:
            if (note := engine_pool.isolation_warning(addresses)) is not None:
                print(f"note: {note}")
            # An engine's first build reads the base images from the disk.
            class_run(2, grading_notebook(), addresses)
        compare(given.submissions, chosen, given.rounds, usual.address, lease)
    finally:
        for private in engines.grading_engines():
            if private.folder not in running:
                engines.stop_private(private)


def compare(count: int, chosen: Sequence[str], rounds: int, usual: str, places: Places) -> None:
    """Run the ways and print what each took: the plain loop on the usual engine with all cores.

    places: the engines of so many workers, with the cores that they have beside each other.
    """

    def graded(size: int, notebook: str, workers: int) -> float:
        with places(workers) as addresses:
            return class_run(size, notebook, addresses)

    empty = nbformat.reads(grading_notebook(), as_version=4)
    empty.cells = [empty.cells[1], nbformat.v4.new_code_cell(NOTHING, id="nothing")]
    # The slowest does half of them: all is over in some five minutes.
    ways: dict[str, tuple[int, Callable[[int], float]]] = {
        OWN: (count, lambda n: graded(n, nbformat.writes(empty), 1)),
        ONE: (count, lambda n: graded(n, grading_notebook(), 1)),
        TWO: (count, lambda n: graded(n, grading_notebook(), 2)),
        PLAIN: (max(1, count // 2), lambda n: plain_loop(n, usual)),
    }
    each: dict[str, list[float]] = {label: [] for label in WAYS if label in chosen}
    for _ in range(rounds):
        print(f"two cores at once do {together():.2f} times the work of one")
        print(HEADER)
        for label, taken in each.items():
            size, way = ways[label]
            before = busy()
            seconds = way(size)
            taken.append(seconds / size)
            cores = (busy() - before) / size
            print(f"| {LABELS[label]} | {size} | {seconds:.1f} | {taken[-1]:.2f} | {cores:.2f} |", flush=True)
    if rounds > 1 and {ONE, TWO} <= each.keys():
        found = " ".join(f"{one / two:.2f}" for one, two in zip(each[ONE], each[TWO], strict=True))
        print(f"2 workers against 1, round by round: {found}")
    tell({label: statistics.median(taken) for label, taken in each.items()})


def together() -> float:
    """What two cores at once get done, in what one does while the others rest."""

    def taken(programs: int) -> float:
        command = [sys.executable, "-c", WORK]
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(programs)]
        return statistics.mean(float(program.communicate()[0]) for program in started)

    alone = statistics.median(taken(1) for _ in range(3))
    return 2 * alone / statistics.median(taken(2) for _ in range(3))


def busy() -> float:
    """Core seconds that the whole machine was busy until now."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq


def tell(each: dict[str, float]) -> None:
    """The ratios, and what follows for a class, as far as the ways that were run tell."""
    if {ONE, TWO} <= each.keys():
        print(f"2 workers against 1: {each[ONE] / each[TWO]:.2f} (aim 1.7)")
        model(each[ONE], each[TWO])
    if {PLAIN, TWO} <= each.keys():
        print(f"2 workers against a plain loop: {each[PLAIN] / each[TWO]:.2f} (aim 2)")
    if {OWN, ONE} <= each.keys():
        print(f"o = {each[OWN]:.2f} s, g = {each[ONE] - each[OWN]:.2f} s")


def model(one: float, two: float) -> None:
    """docs/scaling.md's table, from seconds for each: by one worker on its own cores, by two that share."""
    print("| class | 1 machine, 2 workers | 10 workers | 50 workers |\n|---|---|---|---|")
    for size in (40, 1_000, 10_000):
        minutes = [size * (INTAKE + each) / 60 for each in (two, one / 10, one / 50)]
        print(f"| {size:,} | {' | '.join(f'{m:.1f} min' for m in minutes)} |")


if __name__ == "__main__":
    main()
