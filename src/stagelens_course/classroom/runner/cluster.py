"""Workers of a Dask cluster: each grades on the engine of its own machine."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jupyter_core.utils import run_sync

from stagelens.errors import StagelensError
from stagelens_course.classroom.runner.kernel import KernelStopped, WarmKernel
from stagelens_course.classroom.runner.task import Outcome, Task, carry_out

if TYPE_CHECKING:
    from distributed import Client, Worker

PLUGIN = "stagelens-kernels"
CONNECT_SECONDS = 10
WORKER_SECONDS = 120


class ClusterFailed(StagelensError):
    """The cluster cannot be reached, has no workers, or went away."""


class Kernels:
    """A Dask worker's warm kernels, one for each of its threads; a WorkerPlugin.

    name: the run's own, so that runs on one cluster do not take each other's kernels away.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def setup(self, worker: Worker) -> None:
        """Begin without a kernel; threads make theirs."""
        # Dask clears this folder, also after a worker that was killed.
        self._folder = Path(worker.local_directory)
        self._lock = threading.Lock()
        self._kernels: dict[int, WarmKernel] = {}
        self._over = False

    async def teardown(self, worker: Worker) -> None:
        """End the kernels, interrupting what runs, and wait until they have ended."""
        with self._lock:
            self._over = True
        for kernel in self._kernels.values():
            kernel.stop()
        await asyncio.gather(*(asyncio.to_thread(kernel.close) for kernel in self._kernels.values()))

    def mine(self) -> WarmKernel:
        """The kernel of the calling thread.

        Raises
        ------
        KernelStopped: this was torn down.
        """
        with self._lock:
            if self._over:
                raise KernelStopped
            return self._kernels.setdefault(threading.get_ident(), WarmKernel(self._folder))


def on_worker(task: Task, plugin: str) -> Outcome:
    """Carry out a task in a Dask worker."""
    from distributed import Reschedule, get_worker

    kernels = cast(Kernels, get_worker().plugins[plugin])
    try:
        return carry_out(task, kernels.mine())
    except KernelStopped:
        # This worker is being closed; another one does it.
        raise Reschedule from None


class ClusterScheduler:
    """Grades on a Dask cluster. A worker that dies loses nothing: its submissions are done by others.

    address: the scheduler's, `tcp://host:8786` say.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def run(self, tasks: Iterable[Task]) -> Generator[Outcome]:
        """The outcomes as they come; as many tasks are handed out as keep the workers busy.

        Raises
        ------
        ClusterFailed: the cluster cannot be reached, has no workers, or went away.
        """
        client = self._connect()
        name = f"{PLUGIN}-{secrets.token_hex(8)}"
        try:
            client.register_plugin(_plugin(name))
            given_up: list[Task] = []
            for future, task in _done(client, iter(tasks), name, name):
                if _killed(future):
                    given_up.append(task)
                else:
                    yield _outcome(future, task, self._address)
            # What waited behind a submission that kills workers was given up with it: now each is alone.
            for task in given_up:
                for future, _ in _done(client, iter((task,)), f"{name}-alone", name):
                    yield _outcome(future, task, self._address)
        finally:
            # Ends what still runs, too, where this is left early.
            if client.status == "running":
                # A worker that goes at this moment takes its kernels along, and Dask fails with it.
                with suppress(OSError):
                    client.unregister_worker_plugin(name)
            client.close()

    def _connect(self) -> Client:
        try:
            from distributed import Client
        except ImportError as error:
            raise ClusterFailed(
                "Grading on a cluster needs Dask.", remedy="pip install 'stagelens[cluster]'"
            ) from error
        try:
            # A Client that does not get through hangs for a minute as it is closed, and again as it goes.
            _greeted(self._address)
            client = Client(self._address, timeout=CONNECT_SECONDS, set_as_default=False)
        except ValueError as error:
            raise ClusterFailed(
                "This is no address of a Dask scheduler.",
                where=self._address,
                why=str(error),
                remedy="give the one that it prints as it starts: --scheduler tcp://HOST:8786",
            ) from error
        # A server of another kind is misread in more ways than Dask has errors for.
        except Exception as error:
            raise ClusterFailed(
                "The cluster's scheduler does not answer.",
                where=self._address,
                why=str(error) or "what answers there is no Dask scheduler",
                remedy="start one with: dask scheduler",
            ) from error
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            client.close()
            raise ClusterFailed(
                "The cluster has no workers.",
                where=self._address,
                remedy=f"start one on each machine: dask worker --nthreads 1 {self._address}",
            ) from error
        return client


async def _greet(address: str) -> None:
    from distributed.comm.core import connect

    async with asyncio.timeout(CONNECT_SECONDS + 1):
        comm = await connect(address, timeout=CONNECT_SECONDS)
    comm.abort()


_greeted = run_sync(_greet)


def _plugin(name: str) -> Any:
    from distributed import WorkerPlugin

    return type("KernelsPlugin", (Kernels, WorkerPlugin), {})(name)


def _done(client: Client, tasks: Iterator[Task], key: str, plugin: str) -> Iterator[tuple[Any, Task]]:
    """The futures of tasks as they end, with their tasks; `key` begins Dask's names for them."""
    from distributed import as_completed

    done = as_completed(loop=client.loop, raise_errors=False)
    waiting: dict[Any, Task] = {}
    try:
        while True:
            room = max(2, 2 * _threads(client)) - len(waiting)
            for task in (task for _, task in zip(range(room), tasks, strict=False)):
                future = client.submit(on_worker, task, plugin, key=f"{key}-{task.learner}", pure=False)
                waiting[future] = task
                done.add(future)
            if not waiting:
                return
            future = next(done)
            yield future, waiting.pop(future)
    finally:
        # What has not begun must not begin on a worker whose kernels end now.
        if waiting and client.status == "running":
            client.cancel(list(waiting))


def _threads(client: Client) -> int:
    return sum(cast(Mapping[str, int], client.nthreads()).values())


def _killed(future: Any) -> bool:
    """Whether Dask gave a task up, after it was with several workers as they died."""
    return future.status == "error" and type(future.exception()).__name__ == "KilledWorker"


def _outcome(future: Any, task: Task, address: str) -> Outcome:
    if future.status == "finished":
        return future.result()
    if future.status == "cancelled" or future.status == "lost":
        raise ClusterFailed(
            "The cluster went away.", where=address, remedy="run the same command again to go on"
        )
    words = "every worker that graded it died" if _killed(future) else str(future.exception())
    return Outcome(task.learner, error=f"The cluster could not grade it: {words}")
