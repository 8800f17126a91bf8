"""A pytest plugin for nbval: one warm kernel runs all notebooks, and what failed goes to a file as JSON."""

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

from stagelens_course.classroom import kernels

# For what takes a kernel no time where the machine has any to spare; nbval gives it five.
_PATIENCE = 60


class _Kernel(RunningKernel):
    """nbval's own takes ports, and waits ten seconds for an answer."""

    def __init__(self, cwd: str) -> None:
        place = Path(tempfile.mkdtemp(prefix="k-")).resolve()
        self.km = kernels.manager(KernelManager, place)
        said = place / "said.txt"
        with said.open("wb") as errors:
            self.km.start_kernel(
                extra_arguments=list(kernels.ARGUMENTS), stdout=DEVNULL, stderr=errors, cwd=cwd
            )
        self.kc = self.km.client()
        self.kc.start_channels()
        try:
            self.kc.wait_for_ready(timeout=kernels.START_SECONDS)
        except RuntimeError as error:
            self.stop()
            last = said.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{error}: {last}") from error


class WarmFile(IPyNbFile):
    """A notebook whose cells run in the kernel that the one before it ran in, which forgets it first."""

    shared: _Kernel | None = None

    def collect(self) -> Generator[IPyNbCell]:
        """Give each cell our patience: a busy machine is no fault of a submission."""
        for cell in super().collect():
            cell.output_timeout = _PATIENCE
            yield cell

    def setup(self) -> None:
        """Take the kernel, and go to the notebook's folder."""
        if WarmFile.shared is None or not WarmFile.shared.is_alive():
            WarmFile.shared = _Kernel(str(self.path.parent))
        self.kernel = WarmFile.shared
        message = self.kernel.execute_cell_input(
            kernels.FORGET.format(folder=str(self.path.parent)), allow_stdin=False
        )
        self.kernel.await_reply(message, timeout=_PATIENCE)
        self.kernel.await_idle(message, timeout=_PATIENCE)
        self.setup_sanitize_files()

    def teardown(self) -> None:
        """Leave the kernel to the next one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where to say what failed."""
    parser.addoption("--stagelens-failures", type=Path)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: Any) -> Generator[None, list[Any], list[Any]]:
    """Let our class take the notebooks in place of nbval's."""
    found = yield
    return [
        WarmFile.from_parent(parent, path=file_path) if isinstance(one, IPyNbFile) else one for one in found
    ]


class _Failures:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._found.setdefault(report.nodeid.split("::")[0], report.longreprtext[-4000:])

    def pytest_sessionfinish(self) -> None:
        if WarmFile.shared is not None and WarmFile.shared.is_alive():
            WarmFile.shared.stop()
        self._file.write_text(json.dumps(self._found), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to listen."""
    if file := config.getoption("--stagelens-failures"):
        config.pluginmanager.register(_Failures(file))
