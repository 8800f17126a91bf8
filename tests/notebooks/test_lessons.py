"""Every notebook runs from top to bottom on a real engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*/*.ipynb"))


@pytest.mark.engine
@pytest.mark.parametrize("notebook", LESSONS, ids=lambda path: path.stem)
def test_nbval_runs_the_lesson(notebook: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider", str(notebook)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.engine
def test_run_writes_the_executed_notebook_and_a_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stagelens.cli", "run", "01-multi-stage", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    page = (tmp_path / "01-multi-stage.html").read_text()
    assert "Testing..." in page
    assert "Built · " in page, "the build's last state, as a picture that needs no kernel"
    assert "1 changed (23 B)" in page, "the static picture of the stages is in the page"
    assert "<script" not in page
    assert "model_id" not in page
    assert (tmp_path / "01-multi-stage.ipynb").exists()


def test_an_unknown_lesson_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stagelens.cli", "run", "99-none", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "01-multi-stage" in done.stderr
    assert "Traceback" not in done.stderr
