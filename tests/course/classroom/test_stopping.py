"""Stopping a kernel: it wins at whatever moment it comes, and leaves neither a kernel nor a child of it."""

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
from stagelens_testing.classroom import Room, a_task, kernels
from stagelens_testing.held import PATIENCE, ended, nothing_new, threads, until

from stagelens_course.classroom.runner import LocalScheduler, local_scheduler, warm_kernel
from stagelens_course.classroom.runner.task import TaskResult, run_task
from stagelens_course.classroom.runner.warm_kernel import KernelStopped, WarmKernel

SPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}
LONG = "import time; time.sleep(600)"


class Run(threading.Thread):
    """A notebook that runs in a kernel, in a thread of its own."""

    def __init__(self, warm: WarmKernel, folder: Path, *cells: str) -> None:
        super().__init__(daemon=True)
        self._warm = warm
        self._folder = folder
        self._cells = cells
        self.error: Exception | None = None

    def run(self) -> None:
        v4 = nbformat.v4
        cells = [v4.new_code_cell(source, id=f"c{n}") for n, source in enumerate(self._cells)]
        notebook = v4.new_notebook(cells=cells, metadata={"papermill": {}, "kernelspec": SPEC})
        try:
            self._warm.run(notebook, self._folder / "n.ipynb", {}, timeout=600)
        except Exception as error:
            self.error = error


class Held:
    """A function that waits at its nth call, until it is let go."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str, nth: int = 1) -> None:
        self._real: Callable[..., Any] = getattr(owner, name)
        self._left = nth
        self._reached, self._go = threading.Event(), threading.Event()
        patch.setattr(
            owner, name, self._called if owner is warm_kernel else lambda *a, **o: self._called(*a, **o)
        )

    def _called(self, *arguments: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            self._reached.set()
            assert self._go.wait(PATIENCE)
        return self._real(*arguments, **options)

    def reached(self) -> None:
        assert self._reached.wait(PATIENCE)

    def go_on(self) -> None:
        self._go.set()


@pytest.fixture(autouse=True)
def _no_kernel_is_left() -> Iterator[None]:
    before = kernels()
    yield
    until(lambda: kernels() <= before, "the end of the kernels")


@pytest.fixture
def interrupts(monkeypatch: pytest.MonkeyPatch) -> list[WarmKernel]:
    """The kernels that were interrupted; one that has been killed meanwhile hears nothing."""
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
    "before its process is there": (warm_kernel, "_start", 1, 0),
    "as it gets ready": (warm_kernel, "_wait", 1, 0),
    "between two cells": (warm_kernel._Client, "execute_cell", 2, 0),
    "when a cell is on its way": (PapermillNotebookClient, "execute_cell", 2, 1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_stop_takes_effect_at_any_moment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, interrupts: list[WarmKernel], moment: str
) -> None:
    owner, name, nth, interrupted = MOMENTS[moment]
    held = Held(monkeypatch, owner, name, nth)
    warm = WarmKernel()
    run = Run(warm, tmp_path, "1", LONG)
    run.start()
    held.reached()
    warm.stop()
    held.go_on()
    run.join(PATIENCE)
    assert isinstance(run.error, KernelStopped)
    assert len(interrupts) == interrupted, "only a cell is interrupted, and once"
    warm.close()
    again = Run(warm, tmp_path, "1")
    again.run()
    assert isinstance(again.error, KernelStopped), "nothing more runs in it"


def test_cell_that_ignores_interrupts_is_killed_with_its_children(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(warm_kernel, "GRACE_SECONDS", 1)
    mark = tmp_path / "child"
    deaf = f"""
import pathlib, signal, subprocess, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
pathlib.Path({str(mark)!r}).write_text(f"{{child.pid}} ")
time.sleep(600)
"""
    warm = WarmKernel()
    run = Run(warm, tmp_path, deaf)
    run.start()
    until(lambda: mark.exists() and mark.read_text().endswith(" "), "the child")
    child = psutil.Process(int(mark.read_text()))
    warm.stop()
    run.join(PATIENCE)
    assert isinstance(run.error, KernelStopped)
    warm.close()
    until(lambda: ended(child), "the child's end")


def test_repeated_stops_do_not_interrupt_the_cleanup(tmp_path: Path, interrupts: list[WarmKernel]) -> None:
    mark = tmp_path / "mark"
    tidy = f"""
import pathlib, time
try:
    pathlib.Path({str(mark)!r}).write_text("running")
    time.sleep(600)
finally:
    time.sleep(2)
    pathlib.Path({str(mark)!r}).write_text("cleaned")
"""
    warm = WarmKernel()
    run = Run(warm, tmp_path, tidy)
    run.start()
    until(mark.exists, "the cell")
    for _ in range(3):
        warm.stop()
    run.join(PATIENCE)
    assert mark.read_text() == "cleaned"
    assert len(interrupts) == 1
    warm.close()


def test_stop_ends_an_idle_kernel(tmp_path: Path) -> None:
    warm = WarmKernel()
    run = Run(warm, tmp_path, "1")
    run.run()
    assert run.error is None
    warm.stop()
    warm.close()


def test_closing_a_run_waits_for_a_kernel_that_is_starting(
    classroom: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, warm_kernel, "_wait", 2)
    classroom.submit(ann="right", bob="right", cid="right")
    tasks = (a_task(classroom, name) for name in ("ann", "bob", "cid"))
    before = threads()
    with closing(LocalScheduler(2).run(tasks)) as outcomes:
        next(outcomes)
        held.reached()
        threading.Timer(1, held.go_on).start()
    assert not [thread for thread in threads() - before if thread.name == "stagelens-grade"]


def test_worker_reports_an_unexpected_error_and_continues(
    classroom: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    classroom.submit(ann="right", bob="right")
    calls: list[str] = []

    def full(task: Any, warm: WarmKernel) -> TaskResult:
        calls.append(task.learner)
        if task.learner == "ann":
            raise MemoryError("nothing is left")
        return run_task(task, warm)

    monkeypatch.setattr(local_scheduler, "run_task", full)
    tasks = (a_task(classroom, name) for name in ("ann", "bob"))
    outcomes = {outcome.learner: outcome.error for outcome in LocalScheduler(1).run(tasks)}
    assert outcomes == {"ann": "The grader failed: MemoryError: nothing is left", "bob": None}


def test_interrupt_during_worker_start_leaves_no_thread_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "stagelens-grade":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(threading.Thread, "start", started)
    with nothing_new(threads), pytest.raises(KeyboardInterrupt):
        next(LocalScheduler(2, tmp_path / "work").run(()))
    assert list(tmp_path.iterdir()) == []
