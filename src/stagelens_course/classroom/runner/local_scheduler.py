"""A scheduler with workers on this machine: a thread and a kernel each."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from stagelens.concurrency import defer_signals
from stagelens_course.classroom.runner.task import GradingTask, TaskResult, run_task
from stagelens_course.classroom.runner.warm_kernel import KernelStopped, WarmKernel


class LocalScheduler:
    """A scheduler that grades on this machine.

    Threads suffice: the kernels are processes, and they and the engine do the work.

    Parameters
    ----------
    workers
        The number of submissions that are graded at a time.
    temp_folder
        A folder for temporary files, by default the system's. It is cleared at the start and removed at the
        end, including what a killed run left in it.
    engines
        The address of an engine for each worker; by default, each task names its engine.
    """

    def __init__(self, workers: int, temp_folder: Path | None = None, engines: Sequence[str] = ()) -> None:
        self._workers = workers
        self._temp_folder = temp_folder
        self._engines = engines or [""] * workers

    def run(self, tasks: Iterable[GradingTask]) -> Generator[TaskResult]:
        """Run tasks; closing the generator early lets running ones clean up, then ends the kernels.

        Parameters
        ----------
        tasks
            The tasks; the iterable is consumed as workers become free.

        Yields
        ------
        TaskResult
            The results in order of completion.
        """
        inbox: queue.Queue[GradingTask | None] = queue.Queue()
        outbox: queue.Queue[TaskResult] = queue.Queue()
        workers: list[_Worker] = []
        pending = 0
        try:
            if self._temp_folder is not None:
                shutil.rmtree(self._temp_folder, ignore_errors=True)
                self._temp_folder.mkdir(parents=True)
            for engine in self._engines:
                # An interrupt in between could leave a thread that is not in the list.
                with defer_signals():
                    workers.append(_Worker(inbox, outbox, self._temp_folder, engine))
            for task in tasks:
                inbox.put(task)
                pending += 1
                # One more task than workers, so that no worker waits for the next one.
                while pending > self._workers:
                    yield outbox.get()
                    pending -= 1
            for _ in range(pending):
                yield outbox.get()
            for _ in workers:
                inbox.put(None)
        except BaseException:
            for worker in workers:
                worker.stop()
            raise
        finally:
            for worker in workers:
                worker.join()
            if self._temp_folder is not None:
                shutil.rmtree(self._temp_folder, ignore_errors=True)


class _Worker:
    def __init__(
        self,
        inbox: queue.Queue[GradingTask | None],
        outbox: queue.Queue[TaskResult],
        temp_folder: Path | None,
        engine: str,
    ) -> None:
        self._engine = engine
        self._inbox = inbox
        self._outbox = outbox
        self._kernel = WarmKernel(temp_folder)
        self._stopped = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="stagelens-grade")
        self._thread.start()

    def _work(self) -> None:
        with closing(self._kernel), suppress(KernelStopped):
            while not self._stopped and (task := self._inbox.get()) is not None:
                self._outbox.put(self._result(replace(task, engine=self._engine or task.engine)))

    def _result(self, task: GradingTask) -> TaskResult:
        try:
            return run_task(task, self._kernel)
        except KernelStopped:
            raise
        except Exception as error:
            # A full disk, for example. The scheduler waits for a result, and this worker has other tasks.
            return TaskResult(task.learner, error=f"The grader failed: {type(error).__name__}: {error}")

    def stop(self) -> None:
        self._stopped = True
        # Wake a thread that waits for a task.
        self._inbox.put(None)
        self._kernel.stop()

    def join(self) -> None:
        # A stopped kernel always ends, and then the thread ends.
        self._thread.join()
