"""Stopping a warm kernel takes effect at any moment and leaves no kernel process and no child of one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from papermill.clientwrap import PapermillNotebookClient
from stagelens_testing.classroom import KERNELSPEC, Classroom, grading_task, kernel_pids
from stagelens_testing.resources import PATIENCE, has_ended, no_leaks, threads, wait_until

from stagelens_course.classroom.runner import LocalScheduler, local_scheduler, warm_kernel
from stagelens_course.classroom.runner.task import TaskResult, run_task
from stagelens_course.classroom.runner.warm_kernel import KernelStopped, WarmKernel

LONG = "import time; time.sleep(600)"


class NotebookRun(threading.Thread):
    """A thread that runs a notebook in a kernel."""

    def __init__(self, warm: WarmKernel, folder: Path, *cells: str) -> None:
        super().__init__(daemon=True)
        self._warm = warm
        self._folder = folder
        self._cells = cells
        self.error: Exception | None = None

    def run(self) -> None:
        v4 = nbformat.v4
        cells = [v4.new_code_cell(source, id=f"c{n}") for n, source in enumerate(self._cells)]
        notebook = v4.new_notebook(cells=cells, metadata={"papermill": {}, "kernelspec": KERNELSPEC})
        try:
            self._warm.run(notebook, self._folder / "n.ipynb", {}, timeout=600)
        except Exception as error:
            self.error = error


class BlockedCall:
    """A patched function whose nth call waits until `release`."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str, nth: int = 1) -> None:
        self._real: Callable[..., Any] = getattr(owner, name)
        self._remaining = nth
        self._reached, self._released = threading.Event(), threading.Event()
        patch.setattr(
            owner, name, self._call if owner is warm_kernel else lambda *a, **o: self._call(*a, **o)
        )

    def _call(self, *arguments: Any, **options: Any) -> Any:
        self._remaining -= 1
        if self._remaining == 0:
            self._reached.set()
            assert self._released.wait(PATIENCE)
        return self._real(*arguments, **options)

    def wait_until_reached(self) -> None:
        assert self._reached.wait(PATIENCE)

    def release(self) -> None:
        self._released.set()


@pytest.fixture(autouse=True)
def _no_kernel_remains() -> Iterator[None]:
    before = kernel_pids()
    yield
    wait_until(lambda: kernel_pids() <= before, "the end of the kernels")


@pytest.fixture
def interrupts(monkeypatch: pytest.MonkeyPatch) -> list[WarmKernel]:
    """The kernels that received an interrupt; a killed kernel receives none."""
    seen: list[WarmKernel] = []
    real = WarmKernel._interrupt

    def interrupt(self: WarmKernel) -> None:
        process = self._process()
        if process is not None and process.poll() is None:
            seen.append(self)
        real(self)

    monkeypatch.setattr(WarmKernel, "_interrupt", interrupt)
    return seen


MOMENTS = {
    "before the process starts": (warm_kernel, "_start", 1, 0),
    "while the kernel gets ready": (warm_kernel, "_wait", 1, 0),
    "between two cells": (warm_kernel._Client, "execute_cell", 2, 0),
    "before a cell starts": (PapermillNotebookClient, "execute_cell", 2, 1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_stop_takes_effect_at_any_moment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, interrupts: list[WarmKernel], moment: str
) -> None:
    owner, name, nth, interrupted = MOMENTS[moment]
    blocked = BlockedCall(monkeypatch, owner, name, nth)
    warm = WarmKernel()
    run = NotebookRun(warm, tmp_path, "1", LONG)
    run.start()
    blocked.wait_until_reached()
    warm.stop()
    blocked.release()
    run.join(PATIENCE)
    assert isinstance(run.error, KernelStopped)
    assert len(interrupts) == interrupted, "only a running cell is interrupted, and only once"
    warm.close()
    again = NotebookRun(warm, tmp_path, "1")
    again.run()
    assert isinstance(again.error, KernelStopped), "a stopped kernel runs nothing more"


def test_cell_that_ignores_interrupts_is_killed_with_its_children(
    set_timeouts: Callable[..., None], tmp_path: Path
) -> None:
    set_timeouts(kernel_interrupt=1.0)
    mark = tmp_path / "child"
    source = f"""
import pathlib, signal, subprocess, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
pathlib.Path({str(mark)!r}).write_text(f"{{child.pid}} ")
time.sleep(600)
"""
    warm = WarmKernel()
    run = NotebookRun(warm, tmp_path, source)
    run.start()
    wait_until(lambda: mark.exists() and mark.read_text().endswith(" "), "the child")
    child = psutil.Process(int(mark.read_text()))
    warm.stop()
    run.join(PATIENCE)
    assert isinstance(run.error, KernelStopped)
    warm.close()
    wait_until(lambda: has_ended(child), "the end of the child")


def test_repeated_stops_do_not_interrupt_the_cleanup(tmp_path: Path, interrupts: list[WarmKernel]) -> None:
    mark = tmp_path / "mark"
    source = f"""
import pathlib, time
try:
    pathlib.Path({str(mark)!r}).write_text("running")
    time.sleep(600)
finally:
    time.sleep(2)
    pathlib.Path({str(mark)!r}).write_text("cleaned")
"""
    warm = WarmKernel()
    run = NotebookRun(warm, tmp_path, source)
    run.start()
    wait_until(mark.exists, "the cell")
    for _ in range(3):
        warm.stop()
    run.join(PATIENCE)
    assert mark.read_text() == "cleaned"
    assert len(interrupts) == 1
    warm.close()


def test_stop_ends_an_idle_kernel(tmp_path: Path) -> None:
    warm = WarmKernel()
    run = NotebookRun(warm, tmp_path, "1")
    run.run()
    assert run.error is None
    warm.stop()
    warm.close()


def test_closing_a_run_waits_for_a_kernel_that_is_starting(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = BlockedCall(monkeypatch, warm_kernel, "_wait", 2)
    classroom.submit(ann="right", bob="right", cid="right")
    tasks = (grading_task(classroom, name) for name in ("ann", "bob", "cid"))
    before = threads()
    with closing(LocalScheduler(2).run(tasks)) as outcomes:
        next(outcomes)
        blocked.wait_until_reached()
        threading.Timer(1, blocked.release).start()
    assert not [thread for thread in threads() - before if thread.name == "stagelens-grade"]


def test_worker_reports_an_unexpected_error_and_continues(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    classroom.submit(ann="right", bob="right")
    calls: list[str] = []

    def fail_for_ann(task: Any, warm: WarmKernel) -> TaskResult:
        calls.append(task.learner)
        if task.learner == "ann":
            raise MemoryError("nothing is left")
        return run_task(task, warm)

    monkeypatch.setattr(local_scheduler, "run_task", fail_for_ann)
    tasks = (grading_task(classroom, name) for name in ("ann", "bob"))
    outcomes = {outcome.learner: outcome.error for outcome in LocalScheduler(1).run(tasks)}
    assert outcomes == {"ann": "The grader failed: MemoryError: nothing is left", "bob": None}


def test_interrupt_during_worker_start_leaves_no_thread_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def start_and_interrupt(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "stagelens-grade":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(threading.Thread, "start", start_and_interrupt)
    with no_leaks(threads), pytest.raises(KeyboardInterrupt):
        next(LocalScheduler(2, tmp_path / "work").run(()))
    assert list(tmp_path.iterdir()) == []
