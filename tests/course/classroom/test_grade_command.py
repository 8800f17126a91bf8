"""The command `stagelens grade`."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from stagelens_testing.classroom import Classroom
from stagelens_testing.resources import wait_until

from stagelens.engine import Engine
from stagelens_course.classroom.runner.validation import PLUGINS
from stagelens_course.cli import app
from stagelens_course.grading import load_exercise

NAME = "multi-stage-go"


def grade(classroom: Classroom, *options: str) -> Any:
    folders = [str(classroom.submissions), "--exercise", NAME, "--out", str(classroom.out)]
    return CliRunner().invoke(app, ["grade", *folders, *options])


def test_grade_command_writes_all_files_and_prints_what_has_no_grade(
    classroom: Classroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a relative path, as people type it.
    monkeypatch.chdir(classroom.out.parent)
    classroom.out = Path(classroom.out.name)
    notebook = tmp_path / "grading.ipynb"
    notebook.write_text(classroom.notebook)
    classroom.submit(ann="right", bob="raise")
    (classroom.submissions / "notes.txt").write_text("x")
    result = grade(classroom, "--notebook", str(notebook), "--workers", "2")
    assert result.exit_code == 2, result.output
    assert "2 submissions: 1 graded, 1 error" in result.stdout
    assert "bob: error: The grading notebook failed: ValueError" in result.stderr
    assert "ignored, belongs to no learner: notes.txt" in result.stderr
    names = {path.name for path in classroom.out.iterdir()}
    assert names >= {"index.html", "results.json", "grades.csv", "grades-canvas.csv", "junit.xml", "learners"}
    classroom.submit(bob="wrong")
    result = grade(classroom, "--notebook", str(notebook))
    assert result.exit_code == 0, result.output
    assert "ann: 2/2 (reused)" in result.stderr


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every search for an engine fail, with another error than the tests expect."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://no-such.invalid:1")


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--exercise", "no-such"], "no such exercise"),
        (["--notebook", "/no/such.ipynb"], "notebook cannot be read"),
        (["--scheduler", "nobody"], "not one of a Dask scheduler"),
    ],
)
def test_usage_error_is_reported_before_grading(
    classroom: Classroom, arguments: list[str], words: str
) -> None:
    classroom.submit(ann="right")
    result = grade(classroom, *arguments)
    assert result.exit_code == 1
    assert words in str(result.exception)
    assert not (classroom.out / "learners").exists()


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("empty", [False, True])
def test_missing_submissions_are_reported_before_an_engine_is_needed(
    classroom: Classroom, empty: bool
) -> None:
    if empty:
        classroom.submissions.mkdir()
    result = grade(classroom)
    assert result.exit_code == 1
    assert "No submissions found" in str(result.exception)
    assert not classroom.out.exists()


def test_grading_processes_do_not_compile_the_address_grammar(tmp_path: Path) -> None:
    arguments = ["grade", str(tmp_path / "none"), "--exercise", NAME, "--out", str(tmp_path / "out")]
    plugins = [plugin for plugin in PLUGINS if not plugin.startswith("no:")]
    for code, options in ((PROGRAM, arguments), (f"import {', '.join(plugins)}", [])):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", code, *options],
            capture_output=True,
            text=True,
            check=False,
        )
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "nbformat" in imported
        assert "lark" not in imported


def is_running(command: str) -> bool:
    """Whether a process with that command line runs; with a local engine, build steps are such processes."""
    for process in psutil.process_iter(["cmdline"]):
        if " ".join(process.info["cmdline"] or []) == command:
            return True
    return False


@pytest.mark.engine
def test_ctrl_c_stops_the_build_and_leaves_no_files(
    classroom: Classroom, engine: Engine, tmp_path: Path
) -> None:
    shutil.copytree(load_exercise(NAME).folder, classroom.submissions / "slow")
    step = f"sleep 600.{secrets.randbelow(10**9):09}"
    (classroom.submissions / "slow" / "Dockerfile").write_text(f"FROM diamol/base\nRUN {step}\n")
    (tmp_path / "tmp").mkdir()
    with subprocess.Popen(
        [
            *(sys.executable, "-c", PROGRAM, "grade", str(classroom.submissions), "--exercise", NAME),
            *("--out", str(classroom.out), "--engine", engine.address),
        ],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        wait_until(lambda: is_running(step) or process.poll() is not None, "the build")
        process.send_signal(signal.SIGINT)
        output = process.communicate()[0]
    assert process.returncode == 130, output
    assert "run the same command again" in output
    wait_until(lambda: not is_running(step), "the end of the build")
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (classroom.out / ".work").exists()
    assert list((classroom.out / "learners").glob("*")) == []


# A shell ignores interrupts for processes that it starts in the background.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from stagelens_course.cli import main
main()
"""


@pytest.mark.engine
def test_default_notebook_grades_real_submissions(
    classroom: Classroom, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load_exercise(NAME)
    for learner in ("right", "start", "broken"):
        shutil.copytree(task.folder, classroom.submissions / learner)
    shutil.copy(task.solution / "Dockerfile", classroom.submissions / "right" / "Dockerfile")
    (classroom.submissions / "broken" / "Dockerfile").write_text("FROM diamol/golang\nRUN exit 3\n")
    monkeypatch.setenv("DOCKER_HOST", os.environ.get("DOCKER_HOST", engine.address))
    result = grade(classroom, "--engine", engine.address, "--workers", "2")
    assert result.exit_code == 0, result.output
    earned = {name: (row["earned"], row["points"]) for name, row in classroom.results().items()}
    assert earned["right"] == (task.points, task.points)
    assert earned["broken"] == (0.0, task.points)
    assert 0 < earned["start"][0] < task.points
    assert all(row["validated"] for row in classroom.results().values())
    executed = json.loads(
        (classroom.out / "learners" / "right" / "grading.ipynb").read_text(encoding="utf-8")
    )
    assert f'engine = "{engine.address}"' in json.dumps(executed).replace('\\"', '"')
