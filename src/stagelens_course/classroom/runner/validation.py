"""Validation of executed notebooks: nbval runs each next to its result.json and compares the outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

BATCH = 100  # notebooks in one pytest process, because of the limited length of a command line
CELL_SECONDS = 60
PLUGINS = (
    "stagelens_course.classroom.fast_startup",
    "nbval.plugin",
    "stagelens_course.classroom.nbval_plugin",
    "no:cacheprovider",
)
_PYTEST_VARIABLES = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


def validate_notebooks(
    folder: Path, notebooks: Sequence[Path], workers: int, temp_folder: Path
) -> Generator[Mapping[Path, str | None]]:
    """Validate executed notebooks in several processes; closing the generator early ends them.

    Parameters
    ----------
    folder
        The folder that contains the notebooks.
    notebooks
        The notebooks.
    workers
        The number of processes.
    temp_folder
        The folder for temporary files.

    Yields
    ------
    Mapping[Path, str or None]
        The problem of each notebook in a batch, or None.
    """
    size = max(1, min(BATCH, -(-len(notebooks) // workers)))
    pending = [notebooks[start : start + size] for start in range(0, len(notebooks), size)]
    running: list[_Batch] = []
    try:
        while pending or running:
            while pending and len(running) < workers:
                running.append(_Batch(folder, pending.pop(0), temp_folder))
            yield running.pop(0).verdicts()
    finally:
        for batch in running:
            batch.stop()


class _Batch:
    """A pytest process for some notebooks."""

    def __init__(self, folder: Path, notebooks: Sequence[Path], temp_folder: Path) -> None:
        self._names = {notebook: notebook.relative_to(folder).as_posix() for notebook in notebooks}
        self._folder = tempfile.TemporaryDirectory(prefix="nbval-", dir=temp_folder)
        self._failures = Path(self._folder.name) / "failures.json"
        self._output = Path(self._folder.name) / "output.txt"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                _command(folder, self._failures, list(self._names.values())),
                cwd=folder,
                env={name: value for name, value in os.environ.items() if name not in _PYTEST_VARIABLES}
                | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": self._folder.name},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def verdicts(self) -> dict[Path, str | None]:
        try:
            code = self._process.wait()
        except BaseException:
            self.stop()
            raise
        with self._folder:
            # pytest exits with 1 for failed tests; other codes mean that it did not finish.
            if code not in (0, 1) or not self._failures.exists():
                output = self._output.read_text(encoding="utf-8", errors="replace")
                return dict.fromkeys(self._names, f"nbval did not run: {output[-2000:]}")
            found = json.loads(self._failures.read_text(encoding="utf-8"))
            return {notebook: found.get(name) for notebook, name in self._names.items()}

    def stop(self) -> None:
        # The kernel ends when its parent process is gone.
        with self._folder:
            self._process.terminate()
            self._process.wait()


def _command(folder: Path, failures: Path, names: Sequence[str]) -> list[str]:
    return [
        *(sys.executable, "-P", "-m", "pytest", "-q", "--color=no", "--nbval-lax", "--nbval-current-env"),
        *(f"-p{plugin}" for plugin in PLUGINS),
        *(f"--nbval-cell-timeout={CELL_SECONDS}", f"--stagelens-failures={failures}"),
        *("-c", os.devnull, f"--rootdir={folder.resolve()}", "--", *names),
    ]
