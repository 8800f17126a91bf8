"""nbval over executed grading notebooks: each runs again beside its result.json, and has to show the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

BATCH = 100  # notebooks of one pytest run, for the length of a command line
CELL_SECONDS = 60
PLUGINS = (
    "stagelens_course.classroom.quick",
    "nbval.plugin",
    "stagelens_course.classroom.nbval_warm",
    "no:cacheprovider",
)
_VARIABLES = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


def validate(
    folder: Path, notebooks: Sequence[Path], workers: int, scratch: Path
) -> Generator[Mapping[Path, str | None]]:
    """Validate notebooks below `folder`; for each batch, in some order, what was wrong with each, or None.

    scratch: where temporary files go.

    Closing the iterator early ends the programs that run.
    """
    size = max(1, min(BATCH, -(-len(notebooks) // workers)))
    waiting = [notebooks[start : start + size] for start in range(0, len(notebooks), size)]
    running: list[_Batch] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_Batch(folder, waiting.pop(0), scratch))
            yield running.pop(0).verdicts()
    finally:
        for batch in running:
            batch.stop()


class _Batch:
    """One run of pytest over some notebooks."""

    def __init__(self, folder: Path, notebooks: Sequence[Path], scratch: Path) -> None:
        self._names = {notebook: notebook.relative_to(folder).as_posix() for notebook in notebooks}
        self._place = tempfile.TemporaryDirectory(prefix="nbval-", dir=scratch)
        self._failures = Path(self._place.name) / "failures.json"
        self._said = Path(self._place.name) / "said.txt"
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                _command(folder, self._failures, list(self._names.values())),
                cwd=folder,
                env={name: value for name, value in os.environ.items() if name not in _VARIABLES}
                | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": self._place.name},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def verdicts(self) -> dict[Path, str | None]:
        try:
            code = self._process.wait()
        except BaseException:
            self.stop()
            raise
        with self._place:
            # 1 is pytest's word for failed tests; anything else says that it did not get to the end.
            if code not in (0, 1) or not self._failures.exists():
                said = self._said.read_text(encoding="utf-8", errors="replace")
                return dict.fromkeys(self._names, f"nbval did not run: {said[-2000:]}")
            found = json.loads(self._failures.read_text(encoding="utf-8"))
            return {notebook: found.get(name) for notebook, name in self._names.items()}

    def stop(self) -> None:
        # Its kernel ends by itself once this process is gone.
        with self._place:
            self._process.terminate()
            self._process.wait()


def _command(folder: Path, failures: Path, names: Sequence[str]) -> list[str]:
    return [
        *(sys.executable, "-P", "-m", "pytest", "-q", "--color=no", "--nbval-lax", "--nbval-current-env"),
        *(f"-p{plugin}" for plugin in PLUGINS),
        *(f"--nbval-cell-timeout={CELL_SECONDS}", f"--stagelens-failures={failures}"),
        *("-c", os.devnull, f"--rootdir={folder.resolve()}", "--", *names),
    ]
