"""A pytest plugin for nbval: one warm kernel runs all notebooks, and failures are written to a JSON file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest
from jupyter_client.manager import KernelManager
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

from stagelens_course import timeouts
from stagelens_course.classroom.kernel_factory import KERNEL_ARGUMENTS, RESET_CODE, create_kernel_manager

# nbval waits five seconds, which is too short for a kernel on a busy machine.
_REPLY_SECONDS = 60


class _SharedKernel(RunningKernel):
    """A kernel without TCP ports and with more time for its start than nbval's ten seconds."""

    def __init__(self, cwd: str) -> None:
        folder = Path(tempfile.mkdtemp(prefix="k-")).resolve()
        self.km = create_kernel_manager(KernelManager, folder)
        log = folder / "stderr.txt"
        with log.open("wb") as stderr:
            self.km.start_kernel(
                extra_arguments=list(KERNEL_ARGUMENTS), stdout=DEVNULL, stderr=stderr, cwd=cwd
            )
        self.kc = self.km.client()
        self.kc.start_channels()
        try:
            self.kc.wait_for_ready(timeout=timeouts.current.kernel_start)
        except RuntimeError as error:
            self.stop()
            last = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{error}: {last}") from error


class WarmNotebookFile(IPyNbFile):
    """A notebook whose cells run in the kernel of the notebook before it, after a reset."""

    shared: _SharedKernel | None = None

    def collect(self) -> Generator[IPyNbCell]:
        """Collect the cells, with a timeout that suits a busy machine."""
        for cell in super().collect():
            cell.output_timeout = _REPLY_SECONDS
            yield cell

    def setup(self) -> None:
        """Reset the shared kernel and change to the notebook's folder."""
        if WarmNotebookFile.shared is None or not WarmNotebookFile.shared.is_alive():
            WarmNotebookFile.shared = _SharedKernel(str(self.path.parent))
        self.kernel = WarmNotebookFile.shared
        message = self.kernel.execute_cell_input(
            RESET_CODE.format(folder=str(self.path.parent)), allow_stdin=False
        )
        self.kernel.await_reply(message, timeout=_REPLY_SECONDS)
        self.kernel.await_idle(message, timeout=_REPLY_SECONDS)
        self.setup_sanitize_files()

    def teardown(self) -> None:
        """Keep the kernel for the next notebook."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the file of failures."""
    parser.addoption("--stagelens-failures", type=Path)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: Any) -> Generator[None, list[Any], list[Any]]:
    """Replace nbval's notebook files with `WarmNotebookFile`."""
    found = yield
    return [
        WarmNotebookFile.from_parent(parent, path=file_path) if isinstance(one, IPyNbFile) else one
        for one in found
    ]


class _FailureRecorder:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._failures: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failures.setdefault(report.nodeid.split("::")[0], report.longreprtext[-4000:])

    def pytest_sessionfinish(self) -> None:
        if WarmNotebookFile.shared is not None and WarmNotebookFile.shared.is_alive():
            WarmNotebookFile.shared.stop()
        self._file.write_text(json.dumps(self._failures), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Record failures if the option is set."""
    if file := config.getoption("--stagelens-failures"):
        config.pluginmanager.register(_FailureRecorder(file))
