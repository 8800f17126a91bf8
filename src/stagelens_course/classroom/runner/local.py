"""Workers on this machine: a thread and a kernel each."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from stagelens.concurrency import defer_signals
from stagelens_course.classroom.runner.kernel import KernelStopped, WarmKernel
from stagelens_course.classroom.runner.task import Outcome, Task, carry_out


class LocalScheduler:
    """Grades on this machine, `workers` submissions at a time.

    Threads are enough: the kernels are processes of their own, and the work is theirs and the engine's.
    work: a folder for temporary files that is emptied before and removed after, so that even what a killed
    run left there goes; by default the system's place.
    engines: an engine's address for each worker; by default they find one as a task says.
    """

    def __init__(self, workers: int, work: Path | None = None, engines: Sequence[str] = ()) -> None:
        self._workers = workers
        self._work = work
        self._engines = engines or [""] * workers

    def run(self, tasks: Iterable[Task]) -> Generator[Outcome]:
        """The outcomes as they come; tasks are taken from the iterable as workers get free.

        Closing the generator early stops what runs, lets it clean up, and ends the kernels.
        """
        inbox: queue.Queue[Task | None] = queue.Queue()
        outbox: queue.Queue[Outcome] = queue.Queue()
        workers: list[_Worker] = []
        waiting = 0
        try:
            if self._work is not None:
                shutil.rmtree(self._work, ignore_errors=True)
                self._work.mkdir(parents=True)
            for engine in self._engines:
                # An interrupt within could leave a thread that nobody knows of.
                with defer_signals():
                    workers.append(_Worker(inbox, outbox, self._work, engine))
            for task in tasks:
                inbox.put(task)
                waiting += 1
                # One task more than there are workers, so that none of them waits for the next.
                while waiting > self._workers:
                    yield outbox.get()
                    waiting -= 1
            for _ in range(waiting):
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
            if self._work is not None:
                shutil.rmtree(self._work, ignore_errors=True)


class _Worker:
    def __init__(
        self,
        inbox: queue.Queue[Task | None],
        outbox: queue.Queue[Outcome],
        work: Path | None,
        engine: str,
    ) -> None:
        self._engine = engine
        self._inbox = inbox
        self._outbox = outbox
        self._kernel = WarmKernel(work)
        self._stopped = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="stagelens-grade")
        self._thread.start()

    def _work(self) -> None:
        with closing(self._kernel), suppress(KernelStopped):
            while not self._stopped and (task := self._inbox.get()) is not None:
                own = replace(task, engine=self._engine or task.engine)
                self._outbox.put(self._outcome(own))

    def _outcome(self, task: Task) -> Outcome:
        try:
            return carry_out(task, self._kernel)
        except KernelStopped:
            raise
        except Exception as error:
            # A full disk, say. Somebody waits for an outcome, and other tasks for this worker.
            return Outcome(task.learner, error=f"The grader failed: {type(error).__name__}: {error}")

    def stop(self) -> None:
        self._stopped = True
        # Wakes a thread that waits for a task.
        self._inbox.put(None)
        self._kernel.stop()

    def join(self) -> None:
        # A kernel that was stopped ends, whatever it does; so this ends, too.
        self._thread.join()
