"""Grading runs with the instructor's notebook in warm kernels."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from filelock import FileLock
from stagelens_testing.classroom import Classroom, grading_task, kernel_pids
from stagelens_testing.resources import PATIENCE, children, has_ended, no_leaks, wait_until

from stagelens.errors import StagelensError
from stagelens_course.classroom.results import LearnerResult
from stagelens_course.classroom.runner import (
    GradingRun,
    LocalScheduler,
    ProgressListener,
    grading_notebook,
)
from stagelens_course.classroom.runner.task import GradingTask, TaskResult, run_task
from stagelens_course.classroom.runner.validation import validate_notebooks
from stagelens_course.classroom.runner.warm_kernel import WarmKernel


class RecordingListener(ProgressListener):
    def __init__(self) -> None:
        self.graded: list[str] = []
        self.reused: list[str] = []

    def result_ready(self, result: LearnerResult, *, reused: bool) -> None:
        (self.reused if reused else self.graded).append(result.learner)


class SharedKernelScheduler:
    """A scheduler whose kernel is shared by all runs, for tests that do not depend on kernels."""

    def __init__(self) -> None:
        self.kernel = WarmKernel()

    def run(self, tasks: Iterable[GradingTask]) -> Generator[TaskResult]:
        for task in tasks:
            yield run_task(task, self.kernel)


@pytest.fixture(scope="module")
def shared_scheduler() -> Iterator[SharedKernelScheduler]:
    scheduler = SharedKernelScheduler()
    yield scheduler
    scheduler.kernel.close()


def run(classroom: Classroom, scheduler: Any) -> RecordingListener:
    listener = RecordingListener()
    GradingRun(
        classroom.submissions,
        classroom.exercise,
        classroom.out,
        scheduler,
        classroom.notebook,
        seconds=PATIENCE,
    ).run(listener)
    return listener


def test_failing_submissions_do_not_affect_other_results(classroom: Classroom) -> None:
    before = kernel_pids()
    classroom.submit(ann="right", bob="wrong", cid="raise", dan="crash", eve="right answer")
    (classroom.submissions / "fay.zip").write_bytes(b"PK\x03\x04 no zip at all")
    run(classroom, LocalScheduler(2))
    found = classroom.results()
    assert {name: row["status"] for name, row in found.items()} == {
        "ann": "graded",
        "bob": "graded",
        "cid": "error",
        "dan": "error",
        "eve": "graded",
        "fay": "refused",
    }
    assert {name: row["earned"] for name, row in found.items()} == {
        "ann": 2.0,
        "bob": 0.0,
        "cid": None,
        "dan": None,
        "eve": 2.0,
        "fay": None,
    }
    assert "this submission breaks the grader" in found["cid"]["error"]
    assert "kernel ended" in found["dan"]["error"]
    assert "damaged" in found["fay"]["error"]
    assert [found[name]["validated"] for name in ("ann", "bob", "eve")] == [True, True, True]
    wait_until(lambda: kernel_pids() <= before, "the end of the kernels")


def test_learner_folder_has_feedback_and_the_executed_notebook(
    classroom: Classroom, shared_scheduler: SharedKernelScheduler
) -> None:
    classroom.submit(ann="wrong <script>alert(1)</script>", bob="raise")
    run(classroom, shared_scheduler)
    folder = classroom.out / "learners" / "ann"
    feedback = (folder / "feedback.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in feedback
    assert "<script" not in feedback
    assert "try again" in feedback
    executed = nbformat.read(folder / "grading.ipynb", as_version=4)
    assert [cell.execution_count for cell in executed.cells if cell.cell_type == "code"] == [1, 2, 3, 4]
    broken = nbformat.read(classroom.out / "learners" / "bob" / "grading.ipynb", as_version=4)
    names = [output.get("ename") for cell in broken.cells for output in cell.get("outputs", [])]
    assert "ValueError" in names


def test_second_run_reuses_grades_and_retries_errors(
    classroom: Classroom, shared_scheduler: SharedKernelScheduler
) -> None:
    classroom.submit(ann="right", bob="wrong", cid="raise")
    assert sorted(run(classroom, shared_scheduler).graded) == ["ann", "bob", "cid"]
    before = classroom.results()
    again = run(classroom, shared_scheduler)
    assert (sorted(again.reused), again.graded) == (["ann", "bob"], ["cid"])
    assert classroom.results()["ann"] == before["ann"]


def test_changed_files_exercise_or_notebook_are_graded_again(
    classroom: Classroom, shared_scheduler: SharedKernelScheduler
) -> None:
    classroom.submit(ann="right", bob="wrong")
    run(classroom, shared_scheduler)
    classroom.submit(bob="right now")
    assert run(classroom, shared_scheduler).graded == ["bob"]
    assert classroom.results()["bob"]["earned"] == 2.0
    (classroom.exercise.folder / "main.go").write_text("package other\n")
    assert sorted(run(classroom, shared_scheduler).graded) == ["ann", "bob"]
    classroom.notebook = classroom.notebook.replace("2.0 if", "1.0 if")
    assert sorted(run(classroom, shared_scheduler).graded) == ["ann", "bob"]
    assert classroom.results()["ann"]["earned"] == 1.0


def test_truncated_result_file_is_graded_again(
    classroom: Classroom, shared_scheduler: SharedKernelScheduler
) -> None:
    classroom.submit(ann="right")
    run(classroom, shared_scheduler)
    record = classroom.out / "learners" / "ann" / "result.json"
    record.write_text(record.read_text(encoding="utf-8")[:100], encoding="utf-8")
    assert run(classroom, shared_scheduler).graded == ["ann"]
    assert classroom.results()["ann"]["earned"] == 2.0


def test_validation_detects_a_notebook_that_differs_from_its_result(
    classroom: Classroom, shared_scheduler: SharedKernelScheduler
) -> None:
    classroom.submit(ann="right", bob="right too")
    run(classroom, shared_scheduler)
    record = classroom.out / "learners" / "ann" / "result.json"
    changed = json.loads(record.read_text(encoding="utf-8"))
    changed["validated"] = None
    changed["report"]["checks"][0]["earned"] = changed["report"]["earned"] = 1.0
    record.write_text(json.dumps(changed), encoding="utf-8")
    run(classroom, shared_scheduler)
    found = classroom.results()
    assert found["ann"]["status"] == "error"
    assert "does not show the same" in found["ann"]["error"]
    assert found["bob"]["status"] == "graded"


def test_closing_the_validation_ends_its_processes(
    classroom: Classroom, shared_scheduler: SharedKernelScheduler, tmp_path: Path
) -> None:
    classroom.submit(ann="right", bob="right")
    run(classroom, shared_scheduler)
    notebooks = sorted(classroom.out.glob("learners/*/grading.ipynb"))
    slow = notebooks[1].read_text(encoding="utf-8").replace("import os, time", "import time; time.sleep(600)")
    notebooks[1].write_text(slow, encoding="utf-8")
    verdicts = validate_notebooks(classroom.out, notebooks, 2, tmp_path)
    with no_leaks(children):
        assert next(verdicts) == {notebooks[0]: None}
        verdicts.close()


def test_timeout_interrupts_a_submission_which_cleans_up(classroom: Classroom, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    classroom.submit(ann="right", bob=f"wait {mark}", cid="right")
    with closing(WarmKernel()) as kernel:
        before = run_task(grading_task(classroom, "ann"), kernel)
        for seconds in (3, 30):  # on a busy machine, the cell may not start within the first limit
            slow = run_task(replace(grading_task(classroom, "bob"), seconds=seconds), kernel)
            if mark.exists():
                break
        after = run_task(grading_task(classroom, "cid"), kernel)
    assert slow.error == f"The grader was stopped after {seconds} s."
    assert slow.report is None
    assert mark.read_text() == "cleaned"
    assert [found.report.earned for found in (before, after) if found.report] == [2.0, 2.0]


def test_second_run_in_the_same_folder_is_rejected(
    classroom: Classroom, shared_scheduler: SharedKernelScheduler
) -> None:
    classroom.submit(ann="right")
    classroom.out.mkdir()
    with FileLock(classroom.out / ".lock"), pytest.raises(StagelensError, match="Another run"):
        run(classroom, shared_scheduler)
    assert not (classroom.out / "learners").exists()


def test_report_folder_inside_the_submissions_is_rejected(
    classroom: Classroom, shared_scheduler: SharedKernelScheduler
) -> None:
    classroom.submit(ann="right")
    for out in (classroom.submissions, classroom.submissions / "report"):
        classroom.out = out
        with pytest.raises(StagelensError, match="cannot be inside the folder of submissions"):
            run(classroom, shared_scheduler)
    assert [path.name for path in classroom.submissions.iterdir()] == ["ann"]


def test_write_error_is_reported_and_finished_results_stay(
    classroom: Classroom, shared_scheduler: SharedKernelScheduler
) -> None:
    classroom.submit(ann="right", bob="right")
    classroom.out.write_text("in the way")
    with pytest.raises(StagelensError, match=r"cannot be written[\s\S]*File exists[\s\S]*resume"):
        run(classroom, shared_scheduler)
    classroom.out.unlink()
    (classroom.out / "learners").mkdir(parents=True)
    (classroom.out / "learners/bob").write_text("in the way")
    with pytest.raises(StagelensError, match=r"cannot be written[\s\S]*learners/bob"):
        run(classroom, shared_scheduler)
    (classroom.out / "learners/bob").unlink()
    assert run(classroom, shared_scheduler).reused == ["ann"]


def test_closing_a_local_run_interrupts_tasks_and_ends_kernels(classroom: Classroom, tmp_path: Path) -> None:
    before = kernel_pids()
    mark = tmp_path / "mark"
    classroom.submit(ann="right", bob=f"wait {mark}", cid="right")
    tasks = (grading_task(classroom, name) for name in ("ann", "bob", "cid"))
    with closing(LocalScheduler(2).run(tasks)) as outcomes:
        assert next(outcomes).learner in ("ann", "cid")
        wait_until(mark.exists, "the long one")
    assert mark.read_text() == "cleaned"
    wait_until(lambda: kernel_pids() <= before, "the end of the kernels")


def test_tasks_are_requested_only_as_workers_become_free(classroom: Classroom) -> None:
    classroom.submit(**{f"l{count}": "right" for count in range(6)})
    requested: list[str] = []

    def tasks() -> Generator[GradingTask]:
        for count in range(6):
            requested.append(f"l{count}")
            yield grading_task(classroom, f"l{count}")

    with closing(LocalScheduler(1).run(tasks())) as outcomes:
        next(outcomes)
        assert len(requested) <= 3


def test_warm_kernel_forgets_earlier_notebooks(classroom: Classroom, tmp_path: Path) -> None:
    before = kernel_pids()
    kernel = WarmKernel()
    source = nbformat.reads(classroom.notebook, as_version=4)
    source.cells = [
        nbformat.v4.new_code_cell(
            "import os\nknown = 'secret' in globals()\nsecret = 1\n(os.getpid(), known)"
        )
    ]
    source.metadata["papermill"] = {}
    shown: list[str] = []
    with closing(kernel):
        for count in range(3):
            folder = tmp_path / str(count)
            folder.mkdir()
            kernel.run(source, folder / "n.ipynb", {}, timeout=PATIENCE)
            executed = nbformat.read(folder / "n.ipynb", as_version=4)
            shown.append(executed.cells[0].outputs[0].data["text/plain"])
    assert len(set(shown)) == 1
    assert shown[0].endswith("False)")
    wait_until(lambda: kernel_pids() <= before, "the end of the kernels")


def test_notebooks_of_learners_are_never_run(
    classroom: Classroom, shared_scheduler: SharedKernelScheduler, tmp_path: Path
) -> None:
    classroom.submit(ann="right")
    mark = tmp_path / "mark"
    evil = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"open({str(mark)!r}, 'w')")])
    for name in ("grading.ipynb", "06-exercise.ipynb"):
        nbformat.write(evil, classroom.submissions / "ann" / name)
    (classroom.submissions / "ann" / "result.json").write_text('{"report": {"earned": 99}}')
    (classroom.submissions / "ann" / "sitecustomize.py").write_text(f"open({str(mark)!r}, 'w')")
    (classroom.submissions / "ann" / "os.py").write_text(f"open({str(mark)!r}, 'w')")
    run(classroom, shared_scheduler)
    assert classroom.results()["ann"]["earned"] == 2.0
    assert not mark.exists()


# Simulates a busy machine: the output of a cell is sent some time after its end.
BUSY = """
import sys, time
sys.stdout.flush_timeout = sys.stderr.flush_timeout = 0
get_ipython().kernel.iopub_thread.schedule(lambda: time.sleep(6))
"""


def test_delayed_output_is_not_lost(classroom: Classroom, shared_scheduler: SharedKernelScheduler) -> None:
    classroom.submit(ann="right")
    source = nbformat.reads(classroom.notebook, as_version=4)
    source.cells[-1].source = BUSY + source.cells[-1].source
    classroom.notebook = nbformat.writes(source)
    run(classroom, shared_scheduler)
    found = classroom.results()["ann"]
    assert (found["status"], found["error"]) == ("graded", None)


def test_notebook_without_a_report_is_an_error(
    classroom: Classroom, shared_scheduler: SharedKernelScheduler
) -> None:
    classroom.submit(ann="right")
    source = nbformat.reads(classroom.notebook, as_version=4)
    source.cells = source.cells[:1]
    classroom.notebook = nbformat.writes(source)
    run(classroom, shared_scheduler)
    assert "shows no report" in str(classroom.results()["ann"]["error"])


def test_default_notebook_is_valid_and_declares_its_parameters() -> None:
    source = nbformat.reads(grading_notebook(), as_version=4)
    nbformat.validate(source)
    tagged = [cell for cell in source.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for name in ("submission", "exercise", "engine"):
        assert f"{name} = " in tagged[0].source


PROGRAM = """
import signal, sys
from pathlib import Path
from stagelens_course.grading import Exercise
from stagelens_course.grading.checks import BuildSucceeds
from stagelens_course.classroom.runner import GradingRun, LocalScheduler

signal.signal(signal.SIGINT, signal.default_int_handler)
top = Path({folder!r})
check = BuildSucceeds("works", "It works", 2.0, "try again", "01-multi-stage")
exercise = Exercise("demo", "A <small> exercise", top / "exercise", top / "exercise", (check,), ())
notebook = (top / "notebook.ipynb").read_text()
try:
    GradingRun(top / "class.zip", exercise, top / "out", LocalScheduler(1, top / "out/.work"), notebook).run()
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_or_killed_run_resumes(classroom: Classroom, tmp_path: Path, end: signal.Signals) -> None:
    mark = tmp_path / "mark"
    classroom.submit(ann="right", bob=f"wait {mark}", cid="right", dan="wrong")
    # An archive is extracted into a temporary folder, which has to be removed, too.
    classroom.submissions = Path(
        shutil.make_archive(str(classroom.submissions), "zip", classroom.submissions)
    )
    (tmp_path / "notebook.ipynb").write_text(classroom.notebook)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(folder=str(tmp_path)))
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        # The second submission starts while the first result is being written.
        reached = (mark, classroom.out / "learners/ann/result.json")
        wait_until(
            lambda: all(path.exists() for path in reached) or process.poll() is not None,
            "the second submission",
        )
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(end)
        output = process.communicate(timeout=PATIENCE)[0]
    wait_until(lambda: all(map(has_ended, children)), "the end of the processes")
    assert (classroom.out / "learners" / "ann" / "result.json").exists()
    assert not (classroom.out / "learners" / "bob" / "result.json").exists()
    if end == signal.SIGINT:
        assert process.returncode == 130, output
        assert mark.read_text() == "cleaned"
    for name in (".work", ".scratch"):
        assert (classroom.out / name).exists() == (end == signal.SIGKILL)
    (classroom.out / "learners/ann/.new-result.json").write_text("half of")
    (tmp_path / "mark-go").touch()
    listener = run(classroom, LocalScheduler(1, classroom.out / ".work"))
    assert not (classroom.out / ".work").exists()
    assert not (classroom.out / ".scratch").exists()
    assert not list(classroom.out.rglob(".new-*"))
    assert "ann" in listener.reused
    assert "bob" in listener.graded
    assert {name: row["earned"] for name, row in classroom.results().items()} == {
        "ann": 2.0,
        "bob": 0.0,
        "cid": 2.0,
        "dan": 0.0,
    }
