"""A scheduler with the workers of a Dask cluster; each worker grades on the engine of its machine."""

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
from stagelens_course import timeouts
from stagelens_course.classroom.runner.task import GradingTask, TaskResult, run_task
from stagelens_course.classroom.runner.warm_kernel import KernelStopped, WarmKernel

if TYPE_CHECKING:
    from distributed import Client, Worker

PLUGIN = "stagelens-kernels"
_FAILED = "The cluster could not grade it"


class ClusterFailed(StagelensError):
    """A cluster that cannot be reached, has no workers, or went away."""


class KernelPlugin:
    """The warm kernels of a Dask worker, one for each thread; a WorkerPlugin.

    Parameters
    ----------
    name
        The name of the plugin. It differs for each run, so that no run on a cluster ends another's kernels.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def setup(self, worker: Worker) -> None:
        """Prepare an empty set of kernels; each thread starts its kernel on first use."""
        # Dask clears this folder, also after a worker was killed.
        self._folder = Path(worker.local_directory)
        self._lock = threading.Lock()
        self._kernels: dict[int, WarmKernel] = {}
        self._torn_down = False

    async def teardown(self, worker: Worker) -> None:
        """Interrupt running cells, end the kernels, and wait for their end."""
        with self._lock:
            self._torn_down = True
        for kernel in self._kernels.values():
            kernel.stop()
        await asyncio.gather(*(asyncio.to_thread(kernel.close) for kernel in self._kernels.values()))

    def kernel_for_thread(self) -> WarmKernel:
        """Return the kernel of the calling thread.

        Raises
        ------
        KernelStopped
            If the plugin was torn down.
        """
        with self._lock:
            if self._torn_down:
                raise KernelStopped
            return self._kernels.setdefault(threading.get_ident(), WarmKernel(self._folder))


def run_on_worker(task: GradingTask, plugin: str) -> TaskResult:
    """Run a task in a Dask worker.

    Parameters
    ----------
    task
        The task.
    plugin
        The name of the `KernelPlugin`.
    """
    from distributed import Reschedule, get_worker

    kernels = cast(KernelPlugin, get_worker().plugins[plugin])
    try:
        return run_task(task, kernels.kernel_for_thread())
    except KernelStopped:
        # This worker is shutting down; another one runs the task.
        raise Reschedule from None


class ClusterScheduler:
    """A scheduler that grades on a Dask cluster; other workers run the tasks of a worker that dies.

    Parameters
    ----------
    address
        The address of the Dask scheduler, for example `tcp://host:8786`.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def run(self, tasks: Iterable[GradingTask]) -> Generator[TaskResult]:
        """Run tasks, at most two at a time for each thread of the cluster.

        Parameters
        ----------
        tasks
            The tasks.

        Yields
        ------
        TaskResult
            The results in order of completion.

        Raises
        ------
        ClusterFailed
            If the cluster cannot be reached, has no workers, or goes away.
        """
        client = self._connect()
        name = f"{PLUGIN}-{secrets.token_hex(8)}"
        try:
            client.register_plugin(_worker_plugin(name))
            killed: list[GradingTask] = []
            for future, task in _completed(client, iter(tasks), name, name):
                result = _task_result(future, task, self._address)
                if result is None:
                    killed.append(task)
                else:
                    yield result
            # Dask also drops tasks that waited behind one that kills workers, so each is retried alone.
            for task in killed:
                for future, _ in _completed(client, iter((task,)), f"{name}-alone", name):
                    result = _task_result(future, task, self._address)
                    yield result or TaskResult(
                        task.learner, error=f"{_FAILED}: every worker that graded it died"
                    )
        finally:
            # If the generator is closed early, this also ends the running tasks.
            if client.status == "running":
                # OSError: a worker shuts down at this moment, and ends its kernels.
                # KeyError: a worker is starting and has no plugin yet, so it has no kernels.
                with suppress(OSError, KeyError):
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
            # A Client that fails to connect hangs for a minute when it is closed, and again when deleted.
            _check_connection(self._address)
            client = Client(self._address, timeout=timeouts.current.cluster_connect, set_as_default=False)
        except ValueError as error:
            raise ClusterFailed(
                "The address is not one of a Dask scheduler.",
                where=self._address,
                why=str(error),
                remedy="give the address that the scheduler prints when it starts: --scheduler tcp://HOST:8786",
            ) from error
        # Other kinds of servers cause various errors that are not Dask's.
        except Exception as error:
            raise ClusterFailed(
                "The cluster's scheduler does not answer.",
                where=self._address,
                why=str(error) or "the server at this address is not a Dask scheduler",
                remedy="start one with: dask scheduler",
            ) from error
        try:
            client.wait_for_workers(1, timeout=timeouts.current.cluster_workers)
        except TimeoutError as error:
            client.close()
            raise ClusterFailed(
                "The cluster has no workers.",
                where=self._address,
                remedy=f"start one on each machine: dask worker --nthreads 1 {self._address}",
            ) from error
        return client


async def _check_connection_async(address: str) -> None:
    from distributed.comm.core import connect

    seconds = timeouts.current.cluster_connect
    async with asyncio.timeout(seconds + 1):
        comm = await connect(address, timeout=seconds)
    comm.abort()


_check_connection = run_sync(_check_connection_async)


def _worker_plugin(name: str) -> Any:
    from distributed import WorkerPlugin

    return type("KernelWorkerPlugin", (KernelPlugin, WorkerPlugin), {})(name)


def _completed(
    client: Client, tasks: Iterator[GradingTask], key: str, plugin: str
) -> Iterator[tuple[Any, GradingTask]]:
    """Submit tasks and yield futures with their tasks in order of completion; `key` prefixes Dask's keys."""
    from distributed import as_completed

    completed = as_completed(loop=client.loop, raise_errors=False)
    pending: dict[Any, GradingTask] = {}
    try:
        while True:
            free = max(2, 2 * _threads(client)) - len(pending)
            for task in (task for _, task in zip(range(free), tasks, strict=False)):
                future = client.submit(run_on_worker, task, plugin, key=f"{key}-{task.learner}", pure=False)
                pending[future] = task
                completed.add(future)
            if not pending:
                return
            future = next(completed)
            yield future, pending.pop(future)
    finally:
        # A pending task must not start on a worker whose kernels are ending.
        if pending and client.status == "running":
            client.cancel(list(pending))


def _threads(client: Client) -> int:
    return sum(cast(Mapping[str, int], client.nthreads()).values())


def _task_result(future: Any, task: GradingTask, address: str) -> TaskResult | None:
    """Return the result of a task; None if Dask dropped the task because its workers died.

    If a worker dies before its result is transferred, this waits until another one has graded the task again.
    """
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        return None
    except Exception as error:
        if future.status == "error":
            return TaskResult(task.learner, error=f"{_FAILED}: {error}")
        raise ClusterFailed(
            "The cluster went away.", where=address, remedy="run the same command again to resume"
        ) from error
