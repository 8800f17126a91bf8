"""A Jupyter kernel that stays warm, and a papermill engine that runs notebooks in it one after the other.

Only the instructor's notebook runs here. Starting a kernel and importing modules takes seconds; resetting a
kernel takes a few milliseconds. docs/explanation/scaling.md has the figures.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines

from stagelens_course import timeouts
from stagelens_course.classroom.kernel_factory import KERNEL_ARGUMENTS, RESET_CODE, create_kernel_manager

ENGINE = "stagelens-warm"
_POLL_SECONDS = 0.5
_CELL_START_SECONDS = 0.2
# A kernel is replaced after this number of notebooks, so that leaks do not add up.
MAX_NOTEBOOKS = 500


class KernelStopped(Exception):
    """A kernel was stopped from another thread; it runs nothing more."""


class WarmKernel:
    """A kernel of this Python that starts on first use; `run` is for one thread, `stop` for any thread.

    Parameters
    ----------
    temp_folder
        The folder for temporary files of the kernel and of what it runs; by default the system's.
    run_folder
        The folder in which a single notebook runs, in a kernel of the kind that the notebook names. By
        default, each notebook runs in the folder of its output, in a kernel of this Python.
    """

    def __init__(self, temp_folder: Path | None = None, run_folder: Path | None = None) -> None:
        self.temp_folder = temp_folder
        self.run_folder = run_folder
        self.stopped = False
        # Held while the kernel runs a notebook or ends: ZeroMQ sockets are for one thread at a time.
        self._in_use = threading.Lock()
        self._manager: AsyncKernelManager | None = None
        self._client: Any = None
        self._ready = False
        self._notebook_count = 0
        self._in_cell = False
        self._interrupt_lock = threading.Lock()
        self._interrupted = False

    def run(
        self,
        notebook: nbformat.NotebookNode | str,
        output: Path,
        parameters: dict[str, Any],
        *,
        timeout: float | None,
    ) -> None:
        """Run a notebook by papermill.

        Parameters
        ----------
        notebook
            The notebook or its path.
        output
            The path of the executed notebook, which is also written if a cell fails.
        parameters
            The parameters of the notebook.
        timeout
            The time limit of a cell in seconds.

        Raises
        ------
        PapermillExecutionError
            If a cell fails.
        TimeoutError
            If a cell exceeds the time limit; it is interrupted.
        nbclient.exceptions.DeadKernelError
            If the kernel dies.
        KernelStopped
            If `stop` was called.
        """
        with self._in_use:
            try:
                if self._notebook_count >= MAX_NOTEBOOKS:
                    self._end()
                self._execute(notebook, output, parameters, timeout)
                self._notebook_count += 1
            except Exception:
                if self.stopped:
                    raise KernelStopped from None
                raise

    def _execute(
        self,
        notebook: nbformat.NotebookNode | str,
        output: Path,
        parameters: dict[str, Any],
        timeout: float | None,
    ) -> None:
        try:
            papermill.execute_notebook(
                notebook,
                str(output),
                parameters,
                engine_name=ENGINE,
                request_save_on_cell_execute=False,
                progress_bar=False,
                warm=self,
                folder=output.parent,
                execution_timeout=timeout,
            )
        except (papermill.PapermillExecutionError, KernelStopped):
            raise
        except BaseException:
            # The state of the kernel is unknown after any other error.
            if self._ready:
                self._interrupt()
                with suppress(Exception):
                    _wait(self._client, timeouts.current.kernel_interrupt)
            self._end()
            raise

    def stop(self) -> None:
        """End the kernel for good, from any thread and without waiting; `close` waits for the end.

        No further cell starts. The running cell is interrupted once, so that it can clean up. A kernel that
        still runs after `CourseTimeouts.kernel_interrupt` is killed, and one that is starting at once.
        """
        if not self.stopped:
            self.stopped = True
            threading.Thread(target=self._stop_and_end, daemon=True, name="stagelens-stop").start()

    def _stop_and_end(self) -> None:
        deadline = time.monotonic() + timeouts.current.kernel_interrupt
        self._interrupt_if_stopped()
        while not self._in_use.acquire(timeout=_POLL_SECONDS):
            # An interrupt just before the first line of a cell loses the reply, and some cells ignore it.
            if not self._ready or time.monotonic() > deadline:
                self._kill()
        try:
            self._end()
        finally:
            self._in_use.release()

    def close(self) -> None:
        """Wait for the running notebook and end the kernel; the next notebook starts a new one."""
        with self._in_use:
            self._end()

    def _end(self) -> None:
        manager, client, self._manager, self._client = self._manager, self._client, None, None
        self._ready = False
        self._notebook_count = 0
        if client is not None:
            client.stop_channels()
        if manager is not None:
            _shutdown(manager)
            self._kernel_folder.cleanup()

    def connect(self, name: str) -> tuple[AsyncKernelManager, Any]:
        """Return the running kernel's manager and client; start a kernel if there is none.

        Only for calls within `run`.

        Parameters
        ----------
        name
            The name of the kernelspec in the notebook.

        Raises
        ------
        KernelStopped
            If `stop` was called.
        """
        if self._manager is None and not self.stopped:
            self._kernel_folder = tempfile.TemporaryDirectory(prefix="k-", dir=self.temp_folder)
            folder = Path(self._kernel_folder.name).resolve()
            kind = (name,) if self.run_folder is not None else ()
            self._manager = create_kernel_manager(AsyncKernelManager, folder, *kind)
            # Temporary files of a killed kernel go with this folder, at the latest in the next run.
            self._client = _start(self._manager, folder, self.run_folder)
            _wait(self._client, timeouts.current.kernel_start)
            self._ready = True
        if self.stopped or self._manager is None:
            raise KernelStopped
        return self._manager, self._client

    @contextmanager
    def cell(self) -> Generator[Callable[[], None]]:
        """Wrap the execution of a cell.

        A kernel ignores an interrupt between cells, so the interrupt of `stop` waits for the next cell.

        Yields
        ------
        Callable
            A function to call when the kernel reports the start of the cell.

        Raises
        ------
        KernelStopped
            If `stop` was called; the cell must not start.
        """
        if self.stopped:
            raise KernelStopped
        try:
            yield self._cell_started
        finally:
            self._in_cell = False

    def _cell_started(self) -> None:
        self._in_cell = True
        if self.stopped:
            # The kernel needs some time from this message to the first line of the cell.
            time.sleep(_CELL_START_SECONDS)
            self._interrupt_if_stopped()

    def _interrupt_if_stopped(self) -> None:
        with self._interrupt_lock:
            # A second interrupt would abort the cleanup after the first one.
            if self.stopped and self._in_cell and not self._interrupted:
                self._interrupted = True
                self._interrupt()

    def _interrupt(self) -> None:
        process = self._process()
        if process is not None:
            process.send_signal(signal.SIGINT)

    def _kill(self) -> None:
        """Kill the kernel's process and its children, if they exist already."""
        process = self._process()
        if process is None or process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            if sys.platform == "win32":
                process.kill()
            else:
                # jupyter_client starts a kernel in a new session.
                os.killpg(process.pid, signal.SIGKILL)

    def _process(self) -> subprocess.Popen[bytes] | None:
        manager = self._manager
        provisioner = manager.provisioner if manager is not None else None
        return getattr(provisioner, "process", None)


async def _start_async(manager: AsyncKernelManager, temp_folder: Path, cwd: Path | None) -> Any:
    environment = os.environ | {"TMPDIR": str(temp_folder)}
    options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options |= {} if cwd is None else {"cwd": str(cwd)}
    await manager.start_kernel(extra_arguments=list(KERNEL_ARGUMENTS), env=environment, **options)
    client = manager.client()
    client.start_channels()
    client.allow_stdin = False
    return client


async def _wait_async(client: Any, seconds: float) -> None:
    await client.wait_for_ready(timeout=seconds)


async def _shutdown_async(manager: AsyncKernelManager) -> None:
    with suppress(RuntimeError):
        await manager.shutdown_kernel(now=True)
    await manager.cleanup_resources()


_start = run_sync(_start_async)
_wait = run_sync(_wait_async)
_shutdown = run_sync(_shutdown_async)


class _Client(PapermillNotebookClient):
    """A client that reports the start and end of each cell to the warm kernel."""

    warm: WarmKernel
    cell_started: Callable[[], None]

    def execute_cell(self, *args: Any, **options: Any) -> Any:
        """Execute a cell; see `WarmKernel.cell`."""
        with self.warm.cell() as self.cell_started:
            return super().execute_cell(*args, **options)

    def process_message(self, *args: Any, **options: Any) -> Any:
        """Process a message of the kernel; `execute_input` reports the start of a cell."""
        if args[0]["msg_type"] == "execute_input":
            self.cell_started()
        return super().process_message(*args, **options)


class WarmKernelEngine(NBClientEngine):
    """papermill's default engine, with a kernel that runs already."""

    @classmethod
    def execute_managed_notebook(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        *,
        warm: WarmKernel,
        folder: Path,
        execution_timeout: float | None,
        **_: Any,
    ) -> None:
        """Reset the kernel, change to a folder and run the cells.

        Parameters
        ----------
        nb_man
            papermill's manager of the notebook.
        kernel_name
            The name of the kernelspec in the notebook.
        warm
            The kernel.
        folder
            The folder in which the notebook runs.
        execution_timeout
            The time limit of a cell in seconds.
        """
        manager, connection = warm.connect(kernel_name)
        limits: dict[str, Any] = {
            "timeout": execution_timeout,
            "iopub_timeout": timeouts.current.kernel_output,
        }
        client = _Client(nb_man, km=manager, record_timing=False, **limits)
        client.warm = warm
        client.kc = connection
        if warm.run_folder is None:
            reset = RESET_CODE.format(folder=str(folder))
            reply = client.wait_for_reply(connection.execute(reset, silent=True, store_history=False))
            if reply is None or reply["content"]["status"] != "ok":
                raise RuntimeError("the kernel could not be reset")
        client.execute()


papermill_engines.register(ENGINE, WarmKernelEngine)
