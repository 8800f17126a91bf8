"""nbval over executed grading notebooks: each runs again beside its result.json, and has to show the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

BATCH = 100  # notebooks of one pytest run, for the length of a command line
CELL_SECONDS = 60
_VARIABLES = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


def validate(folder: Path, notebooks: Sequence[Path], workers: int) -> Iterator[Mapping[Path, str | None]]:
    """Validate notebooks below `folder`; for each batch, in some order, what was wrong with each, or None."""
    size = max(1, min(BATCH, -(-len(notebooks) // workers)))
    batches = [notebooks[start : start + size] for start in range(0, len(notebooks), size)]
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(partial(_batch, folder), batches)


def _batch(folder: Path, notebooks: Sequence[Path]) -> dict[Path, str | None]:
    names = {notebook: notebook.relative_to(folder).as_posix() for notebook in notebooks}
    with tempfile.TemporaryDirectory(prefix="stagelens-nbval-") as name:
        failures = Path(name) / "failures.json"
        done = subprocess.run(
            _command(folder, failures, list(names.values())),
            cwd=folder,
            env={k: v for k, v in os.environ.items() if k not in _VARIABLES}
            | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        # 1 is pytest's word for failed tests; anything else says that it did not get to the end.
        if done.returncode not in (0, 1) or not failures.exists():
            return dict.fromkeys(notebooks, f"nbval did not run: {done.stdout[-2000:]}")
        found = json.loads(failures.read_text(encoding="utf-8"))
    return {notebook: found.get(name) for notebook, name in names.items()}


def _command(folder: Path, failures: Path, names: Sequence[str]) -> list[str]:
    plugins = ("nbval.plugin", "stagelens.grade.runner.nbval_warm", "no:cacheprovider")
    return [
        *(sys.executable, "-m", "pytest", "-q", "--color=no", "--nbval-lax", "--nbval-current-env"),
        *(f"-p{plugin}" for plugin in plugins),
        *(f"--nbval-cell-timeout={CELL_SECONDS}", f"--stagelens-failures={failures}"),
        *("-c", os.devnull, f"--rootdir={folder}", "--", *names),
    ]
