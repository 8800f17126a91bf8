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
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, NbvalKernelspecManager
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines

from stagelens.grade.notebook import FORGET

ENGINE = "stagelens-warm"
START_SECONDS = 120
GRACE_SECONDS = 30
_SOCKET_PATH = 100  # bytes; a UNIX socket's path has 108 at most, on macOS 104
# A kernel is left after so many notebooks, so that what they leak never adds up.
NOTEBOOKS = 500


class KernelStopped(Exception):
    """The kernel was stopped from another thread; nothing more runs in it."""


class WarmKernel:
    """A kernel of this Python, started when it is first needed; `run` is for one thread, `stop` for any.

    folder: where temporary files go, the kernel's own and those of what it runs; None: the system's place.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._manager: AsyncKernelManager | None = None
        self._client: Any = None
        self._pid = 0
        self._done = 0
        self._busy = False
        self._stopped = False

    def run(
        self, notebook: nbformat.NotebookNode, output: Path, parameters: dict[str, Any], *, timeout: float
    ) -> None:
        """Run a notebook by papermill in the folder of `output`, where it is kept, also when it fails.

        timeout: seconds that one of its cells may take.

        Raises
        ------
        PapermillExecutionError: a cell failed. TimeoutError: one took too long; it was interrupted.
        nbclient's DeadKernelError: the kernel ended. KernelStopped: `stop` was called.
        """
        if self._done >= NOTEBOOKS:
            self.close()
        self._busy = True
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
        except papermill.PapermillExecutionError:
            if self._stopped:
                raise KernelStopped from None
            raise
        except BaseException:
            # Whatever else happened, nobody knows what the kernel is doing now.
            self._interrupt()
            if self._client is not None:
                with suppress(Exception):
                    _wait(self._client, GRACE_SECONDS)
            self.close()
            raise
        finally:
            self._busy = False
            if self._stopped:
                self.close()
        self._done += 1

    def stop(self) -> None:
        """From any thread: end the kernel for good. A cell that runs is interrupted, so that it cleans up."""
        self._stopped = True
        if self._busy:
            self._interrupt()
        else:
            self.close()

    def close(self) -> None:
        """End the kernel; the next notebook gets a new one."""
        manager, client, self._manager, self._client = self._manager, self._client, None, None
        self._pid = self._done = 0
        if client is not None:
            client.stop_channels()
        if manager is not None:
            _shutdown(manager)
            self._place.cleanup()

    def connected(self) -> tuple[AsyncKernelManager, Any]:
        """The running kernel's manager and client; starts one if there is none."""
        if self._stopped:
            raise KernelStopped
        if self._manager is None:
            self._place = tempfile.TemporaryDirectory(prefix="k-", dir=self.folder)
            manager = _manager(Path(self._place.name).resolve())
            self._manager = manager
            self._client = _start(manager)
            self._pid = int(cast(Any, manager.provisioner).pid)
        return self._manager, self._client

    def _interrupt(self) -> None:
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGINT)


def _manager(folder: Path) -> AsyncKernelManager:
    """A manager of a kernel of this Python; its sockets are in `folder`, where others could reach a port."""
    socket = folder / "k"
    local = sys.platform != "win32" and len(str(socket)) < _SOCKET_PATH
    return AsyncKernelManager(
        kernel_name=CURRENT_ENV_KERNEL_NAME,
        kernel_spec_manager=NbvalKernelspecManager(),
        connection_file=str(folder / "kernel.json"),
        **({"transport": "ipc", "ip": str(socket)} if local else {}),
    )


async def _start_async(manager: AsyncKernelManager) -> Any:
    await manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    client.allow_stdin = False
    await _wait_async(client, START_SECONDS)
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
        execution_timeout: float,
        **_: Any,
    ) -> None:
        """Forget what the last notebook did, go to `folder`, and run the cells."""
        manager, connection = warm.connected()
        client = PapermillNotebookClient(nb_man, km=manager, timeout=execution_timeout, record_timing=False)
        client.kc = connection
        forget = FORGET.format(folder=str(folder))
        reply = client.wait_for_reply(connection.execute(forget, silent=True, store_history=False))
        if reply is None or reply["content"]["status"] != "ok":
            raise RuntimeError("the kernel did not forget the notebook before")
        client.execute()


papermill_engines.register(ENGINE, WarmEngine)
