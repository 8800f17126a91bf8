"""Every notebook follows the rules for lessons, and runs from top to bottom on a real engine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import nbformat
import pytest
from stagelens_testing.resources import children, no_leaks, wait_until

from stagelens_course.images import LESSON_IMAGES, NAMES

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*/*.ipynb"))


# A build of a lesson may have to wait for package registries.
SECONDS = 900


@pytest.mark.engine
@pytest.mark.timeout(SECONDS + 20)
@pytest.mark.parametrize("notebook", LESSONS, ids=lambda path: path.stem)
def test_nbval_runs_the_lesson(notebook: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider", str(notebook)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stdout[-4000:]


# Records the namespaces in which a lesson starts its containers, since it removes only one.
SPACES = """
from stagelens_course import apps
up, spaces = apps.up, set()
apps.up = lambda *arguments, **named: (spaces.add(named["namespace"]), up(*arguments, **named))[1]
"""


@pytest.mark.engine
@pytest.mark.timeout(SECONDS + 20)
@pytest.mark.parametrize("lesson", ["01-multi-stage", "03-node-access-log", "05-why-multi-stage"])
def test_each_cell_can_run_twice(lesson: str, tmp_path: Path) -> None:
    given = nbformat.read(ROOT / f"notebooks/en/{lesson}.ipynb", as_version=4)
    sources = [cell.source for cell in given.cells if cell.cell_type == "code" for _ in range(2)]
    cells = [nbformat.v4.new_code_cell(source) for source in (SPACES, *sources, "assert len(spaces) <= 1")]
    (tmp_path / "ch04").symlink_to(ROOT / "ch04")
    notebook = tmp_path / f"notebooks/en/{lesson}.ipynb"
    notebook.parent.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=given.metadata), notebook)
    test_nbval_runs_the_lesson(notebook)


@pytest.mark.parametrize("notebook", LESSONS, ids=lambda path: path.stem)
def test_stored_outputs_are_only_those_that_nbval_compares(notebook: Path) -> None:
    for cell in json.loads(notebook.read_text())["cells"]:
        checked = "nbval-check-output" in cell["metadata"].get("tags", [])
        assert checked or not cell.get("outputs")


def test_image_names_of_a_lesson_contain_its_namespace() -> None:
    # Otherwise learners who share an engine would overwrite and remove each other's images.
    sources = (cell.source for path in LESSONS for cell in nbformat.read(path, as_version=4).cells)
    names = re.findall(r'\btag(?: = |s\.append\()f?"(.+?)"', "\n".join(sources))
    assert len(names) >= 4
    assert all(name.endswith(":{space}") for name in names), names


def test_base_images_of_every_lesson_are_listed() -> None:
    assert {path.stem for path in LESSONS} <= set(LESSON_IMAGES)


@pytest.mark.parametrize(
    "lesson", ["02-java-image-of-the-day", "03-node-access-log", "04-go-image-gallery", "05-why-multi-stage"]
)
def test_a_lesson_provides_its_base_images_before_it_builds(lesson: str) -> None:
    # `stagelens lab` did so for the lesson that it was opened with, and no other.
    cells = nbformat.read(ROOT / f"notebooks/en/{lesson}.ipynb", as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    before, asked, _ = re.split(r"images\.ensure\(engine, (?:\[(.+?)\], )?report=line\)", code)
    assert not re.search(r"\.build\(|= (stagelens\.)?record\(", before)
    projects = [name for name in ("image-of-the-day", "access-log", "image-gallery") if name in code]
    dockerfiles = [(ROOT / "ch04/exercises" / name / "Dockerfile").read_text() for name in projects]
    wanted = set(re.findall(r"^FROM (\S+)", "\n".join(dockerfiles), re.MULTILINE))
    assert wanted <= set(re.findall(r'"(.+?)"', asked) if asked else NAMES)


def run(lesson: str, folder: Path) -> str:
    """The HTML page of an executed lesson."""
    command = [sys.executable, "-m", "stagelens_course", "run", lesson, "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    assert (folder / f"{lesson}.ipynb").exists()
    return (folder / f"{lesson}.html").read_text()


@pytest.mark.engine
def test_run_writes_the_executed_notebook_and_a_page(tmp_path: Path) -> None:
    page = run("01-multi-stage", tmp_path)
    assert "Testing..." in page
    assert "Built · " in page, "the build's last state, as a picture that needs no kernel"
    assert "1 changed (23 B)" in page, "the static picture of the stages is in the page"
    assert "<script" not in page
    assert "model_id" not in page


@pytest.mark.engine
@pytest.mark.timeout(SECONDS + 20)
def test_executed_lesson_shows_marked_predictions(tmp_path: Path) -> None:
    page = run("03-node-access-log", tmp_path)
    assert "5 of 6 right" in page, "a wrong prediction is not an error"
    assert "src/server.js has different content." in page
    assert "3 of 6 right" in page
    assert "Stage builder ran again and produced the same files, so the copy stayed cached." in page
    assert "6 of 6 steps would come from the cache" in page


@pytest.mark.engine
def test_page_contains_output_that_arrives_late(tmp_path: Path) -> None:
    busy = """
        import sys, time
        sys.stdout.flush_timeout = sys.stderr.flush_timeout = 0
        get_ipython().kernel.iopub_thread.schedule(lambda: time.sleep(6))
        "sent " + "late"
    """
    v4 = nbformat.v4
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = v4.new_notebook(cells=[v4.new_code_cell(dedent(busy))], metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "busy.ipynb")
    command = [sys.executable, "-m", "stagelens_course", "run", "busy.ipynb", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "sent late" in (tmp_path / "out/busy.html").read_text()


TIDY = """
import pathlib, time
folder = pathlib.Path({folder!r})
try:
    (folder / "started").touch()
    time.sleep(600)
finally:
    (folder / "cleaned").touch()
"""


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["tmp/stagelens-run-*/k-*/kernel.json", "started"])
def test_interrupted_run_lets_the_cell_clean_up_and_leaves_nothing(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    cell = nbformat.v4.new_code_cell(TIDY.format(folder=str(tmp_path)))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(
        nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), tmp_path / "long.ipynb"
    )
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "stagelens_course", "run", "long.ipynb", "--out", str(tmp_path / "out")]
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    with (
        no_leaks(children),
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        wait_until(lambda: any(tmp_path.glob(moment)), moment)
        process.send_signal(number)
        process.send_signal(number)
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    assert list((tmp_path / "tmp").iterdir()) == []
    assert (tmp_path / "cleaned").exists() is (tmp_path / "started").exists()


def test_unknown_lesson_is_an_error_message(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stagelens_course", "run", "99-none", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "01-multi-stage" in done.stderr
    assert "Traceback" not in done.stderr
