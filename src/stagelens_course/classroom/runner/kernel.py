"""A Jupyter kernel that stays warm, and a papermill engine that runs one notebook after another in it.

Only the instructor's notebook runs here. Starting a kernel and importing takes seconds, forgetting what the
last notebook did a few milliseconds; docs/scaling.md has the figures.
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

from stagelens_course.classroom import kernels

ENGINE = "stagelens-warm"
GRACE_SECONDS = 30
# Output that comes later is left out without a word; nbclient waits four seconds, which a busy machine needs.
OUTPUT_SECONDS = 60
_POLL_SECONDS = 0.5
_BEGIN_SECONDS = 0.2
# A kernel is left after so many notebooks, so that what they leak never adds up.
NOTEBOOKS = 500


class KernelStopped(Exception):
    """The kernel was stopped from another thread; nothing more runs in it."""


class WarmKernel:
    """A kernel of this Python, started when it is first needed; `run` is for one thread, `stop` for any.

    folder: where temporary files go, the kernel's own and those of what it runs; None: the system's place.
    place: the folder in which its only notebook runs, in a kernel of the kind that this names.
    """

    def __init__(self, folder: Path | None = None, place: Path | None = None) -> None:
        self.folder = folder
        self.place = place
        self.stopped = False
        # Held by whoever runs or ends the kernel; ZeroMQ's sockets are for one thread at a time.
        self._using = threading.Lock()
        self._manager: AsyncKernelManager | None = None
        self._client: Any = None
        self._ready = False
        self._done = 0
        self._in_cell = False
        self._interrupting = threading.Lock()
        self._interrupted = False

    def run(
        self,
        notebook: nbformat.NotebookNode | str,
        output: Path,
        parameters: dict[str, Any],
        *,
        timeout: float | None,
    ) -> None:
        """Run a notebook, or the one at a path, by papermill; `output` keeps it, also when it fails.

        It runs in the folder of `output`, or in `place`. timeout: seconds that one of its cells may take.

        Raises
        ------
        PapermillExecutionError: a cell failed. TimeoutError: one took too long; it was interrupted.
        nbclient's DeadKernelError: the kernel ended. KernelStopped: `stop` was called.
        """
        with self._using:
            try:
                if self._done >= NOTEBOOKS:
                    self._end()
                self._execute(notebook, output, parameters, timeout)
                self._done += 1
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
            # Whatever else happened, nobody knows what the kernel is doing now.
            if self._ready:
                self._interrupt()
                with suppress(Exception):
                    _wait(self._client, GRACE_SECONDS)
            self._end()
            raise

    def stop(self) -> None:
        """From any thread, without waiting: end the kernel for good. `close` waits for that end.

        No further cell begins, and the one that runs is interrupted once, so that it cleans up. What has not
        ended after GRACE_SECONDS is killed, and at once a kernel that is only starting.
        """
        if not self.stopped:
            self.stopped = True
            threading.Thread(target=self._see_to_the_end, daemon=True, name="stagelens-stop").start()

    def _see_to_the_end(self) -> None:
        deadline = time.monotonic() + GRACE_SECONDS
        self._interrupt_if_stopped()
        while not self._using.acquire(timeout=_POLL_SECONDS):
            # Just before a cell's first line an interrupt loses us its reply, and some cells take none.
            if not self._ready or time.monotonic() > deadline:
                self._kill()
        try:
            self._end()
        finally:
            self._using.release()

    def close(self) -> None:
        """Wait for the notebook that runs, and end the kernel; the next notebook gets a new one."""
        with self._using:
            self._end()

    def _end(self) -> None:
        manager, client, self._manager, self._client = self._manager, self._client, None, None
        self._ready = False
        self._done = 0
        if client is not None:
            client.stop_channels()
        if manager is not None:
            _shutdown(manager)
            self._place.cleanup()

    def connected(self, name: str) -> tuple[AsyncKernelManager, Any]:
        """The running kernel's manager and client; starts one if there is none. For `run` alone.

        name: of the kernel that the notebook names.

        Raises
        ------
        KernelStopped: `stop` was called.
        """
        if self._manager is None and not self.stopped:
            self._place = tempfile.TemporaryDirectory(prefix="k-", dir=self.folder)
            place = Path(self._place.name).resolve()
            kind = (name,) if self.place is not None else ()
            self._manager = kernels.manager(AsyncKernelManager, place, *kind)
            # What a killed kernel leaves goes with this folder, by the next run at the latest.
            self._client = _start(self._manager, place, self.place)
            _wait(self._client, kernels.START_SECONDS)
            self._ready = True
        if self.stopped or self._manager is None:
            raise KernelStopped
        return self._manager, self._client

    @contextmanager
    def cell(self) -> Generator[Callable[[], None]]:
        """Around a cell; what it yields is to be called when the kernel says that the cell begins.

        A kernel that is between cells forgets an interrupt, so a stop's waits until then.

        Raises
        ------
        KernelStopped: `stop` was called; the cell must not begin.
        """
        if self.stopped:
            raise KernelStopped
        try:
            yield self._begins
        finally:
            self._in_cell = False

    def _begins(self) -> None:
        self._in_cell = True
        if self.stopped:
            # From that word to the cell's first line the kernel has a little to do.
            time.sleep(_BEGIN_SECONDS)
            self._interrupt_if_stopped()

    def _interrupt_if_stopped(self) -> None:
        with self._interrupting:
            # A second one would end the cleaning up after the first.
            if self.stopped and self._in_cell and not self._interrupted:
                self._interrupted = True
                self._interrupt()

    def _interrupt(self) -> None:
        process = self._process()
        if process is not None:
            process.send_signal(signal.SIGINT)

    def _kill(self) -> None:
        """Kill the kernel's process and its children, if they are there by now."""
        process = self._process()
        if process is None or process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            if sys.platform == "win32":
                process.kill()
            else:
                # jupyter_client starts a kernel in a session of its own.
                os.killpg(process.pid, signal.SIGKILL)

    def _process(self) -> subprocess.Popen[bytes] | None:
        manager = self._manager
        provisioner = manager.provisioner if manager is not None else None
        return getattr(provisioner, "process", None)


async def _start_async(manager: AsyncKernelManager, temporary: Path, place: Path | None) -> Any:
    environment = os.environ | {"TMPDIR": str(temporary)}
    options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options |= {} if place is None else {"cwd": str(place)}
    await manager.start_kernel(extra_arguments=list(kernels.ARGUMENTS), env=environment, **options)
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
    """Tells the kernel when a cell begins and ends."""

    warm: WarmKernel
    begins: Callable[[], None]

    def execute_cell(self, *args: Any, **options: Any) -> Any:
        """Execute a cell; see `WarmKernel.cell`."""
        with self.warm.cell() as self.begins:
            return super().execute_cell(*args, **options)

    def process_message(self, *args: Any, **options: Any) -> Any:
        """Take a message of the kernel; `execute_input` is its word for a cell that begins."""
        if args[0]["msg_type"] == "execute_input":
            self.begins()
        return super().process_message(*args, **options)


class WarmEngine(NBClientEngine):
    """papermill's own way of running cells, in a kernel that is there already."""

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
        """Forget what the last notebook did, go to `folder`, and run the cells."""
        manager, connection = warm.connected(kernel_name)
        patience: dict[str, Any] = {"timeout": execution_timeout, "iopub_timeout": OUTPUT_SECONDS}
        client = _Client(nb_man, km=manager, record_timing=False, **patience)
        client.warm = warm
        client.kc = connection
        if warm.place is None:
            forget = kernels.FORGET.format(folder=str(folder))
            reply = client.wait_for_reply(connection.execute(forget, silent=True, store_history=False))
            if reply is None or reply["content"]["status"] != "ok":
                raise RuntimeError("the kernel did not forget the notebook before")
        client.execute()


papermill_engines.register(ENGINE, WarmEngine)
