"""Kernels for grading and validation share no port and no history with other programs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from stagelens_course.classroom.runner.validation import validate_notebooks
from stagelens_course.classroom.runner.warm_kernel import WarmKernel

SOURCE = """\
# NBVAL_CHECK_OUTPUT
from ipykernel.kernelapp import IPKernelApp
IPKernelApp.instance().transport, get_ipython().history_manager.enabled"""
SHOWN = "('ipc', False)"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="k-") as folder:
        yield Path(folder)


@pytest.fixture
def notebook() -> NotebookNode:
    result = nbformat.v4.new_output("execute_result", {"text/plain": SHOWN}, execution_count=1)
    cell = nbformat.v4.new_code_cell(SOURCE, execution_count=1, outputs=[result])
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {}, "kernelspec": python})


def test_validation_kernel_uses_no_port_and_no_history(notebook: NotebookNode, short_folder: Path) -> None:
    nbformat.write(notebook, short_folder / "n.ipynb")
    assert list(validate_notebooks(short_folder, [short_folder / "n.ipynb"], 1, short_folder)) == [
        {short_folder / "n.ipynb": None}
    ]


def test_grading_kernel_uses_no_port_and_no_history(notebook: NotebookNode, short_folder: Path) -> None:
    with closing(WarmKernel(short_folder)) as kernel:
        kernel.run(notebook, short_folder / "out.ipynb", {}, timeout=60)
    executed = nbformat.read(short_folder / "out.ipynb", as_version=4)
    assert executed.cells[0].outputs[0].data["text/plain"] == SHOWN


def test_kernel_start_failure_shows_its_last_output(
    notebook: NotebookNode, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat.write(notebook, short_folder / "n.ipynb")
    (short_folder / "ipykernel_launcher.py").write_text("raise SystemExit('no kernel today')")
    monkeypatch.setenv("PYTHONPATH", str(short_folder), prepend=":")
    (found,) = validate_notebooks(short_folder, [short_folder / "n.ipynb"], 1, short_folder)
    assert "Kernel died" in (found[short_folder / "n.ipynb"] or "")
    assert "no kernel today" in (found[short_folder / "n.ipynb"] or "")
