"""The built wheel in a new virtual environment and an empty folder, as `pip install stagelens` gives it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from stagelens_testing.resources import PATIENCE, free_port

from stagelens.engine import Engine
from stagelens_course.images import ensure

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
pytestmark = [pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(1500)]


def pip(python: str | Path, *arguments: str | Path) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the project's wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


class Installed:
    """A virtual environment with the wheel, and an empty folder to work in."""

    def __init__(self, folder: Path, requirement: str) -> None:
        self.venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", self.venv], check=True)
        pip(self.venv / "bin/python", "install", "-c", LOCK, requirement)
        self.folder = folder / "empty"
        self.folder.mkdir()

    def start(self, *arguments: str, engine: Engine, folder: Path | None = None) -> subprocess.Popen[str]:
        names = ("PYTHONPATH", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if name not in names}
        return subprocess.Popen(
            [self.venv / "bin/stagelens", *arguments],
            cwd=folder or self.folder,
            env=environment | {"DOCKER_HOST": engine.address},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, engine: Engine, folder: Path | None = None) -> tuple[int, str, str]:
        process = self.start(*arguments, engine=engine, folder=folder)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err


@pytest.fixture(scope="module")
def library(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the library alone."""
    return Installed(tmp_path_factory.mktemp("library"), str(wheel))


@pytest.fixture(scope="module")
def course(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the library with the course."""
    return Installed(tmp_path_factory.mktemp("course"), f"{wheel}[course]")


def test_wheel_has_bundles_of_library_and_course_but_no_front_end_sources(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "stagelens/views/static/build_view.js" in names
    assert "stagelens_course/apps/static/app_view.js" in names
    assert [name for name in names if "/frontend/" in name] == []


def test_the_library_explores_any_project_without_an_image_of_the_course(
    library: Installed, engine: Engine, unique: str, clean: object
) -> None:
    before = {row["Id"] for row in engine.api.images()}
    project = library.folder / "project"
    project.mkdir()
    (project / "hello.txt").write_text(f"hello {unique}\n")
    (project / "Dockerfile").write_text(
        "FROM scratch AS files\nCOPY hello.txt /data/\nFROM scratch\nCOPY --from=files /data /\n"
    )
    code, out, err = library.run("explore", "project", engine=engine)
    assert code == 0, err
    assert "+ /data/hello.txt" in out
    assert "+ /hello.txt" in out
    # The build itself makes an image without a name, as `docker build` does.
    new = [row for row in engine.api.images() if row["Id"] not in before]
    tags = {tag for row in new for tag in row.get("RepoTags") or ()}
    assert tags <= {"<none>:<none>"}
    for row in new:
        engine.api.remove_image(row["Id"], force=True)


def test_what_only_the_course_needs_is_named_with_its_installation(
    library: Installed, engine: Engine
) -> None:
    code, _, err = library.run("lab", "--no-browser", engine=engine)
    assert code == 1
    assert "JupyterLab is not installed" in err
    assert 'pip install "stagelens[course]"' in err
    assert list(library.folder.glob("stagelens-course")) == []


def test_lab_puts_the_course_into_an_empty_folder_and_opens_the_first_lesson(
    course: Installed, engine: Engine
) -> None:
    ensure(engine, ["diamol/base"])
    process = course.start("lab", "--no-browser", "--port", str(free_port()), engine=engine)
    try:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if "/lab/tree/notebooks/en/01-multi-stage.ipynb?token=" in line:
                break
        else:
            pytest.fail("".join(lines))
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert re.search(r"course folder \S+/stagelens-course: \d+ files added", "".join(lines))
    assert [path.name for path in course.folder.iterdir()] == ["stagelens-course"]
    shipped = {path.relative_to(ROOT) for path in tracked_files()}
    folder = course.folder / "stagelens-course"
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert shipped - found == set()


def tracked_files() -> Iterator[Path]:
    parts = ("ch04", "exercises", "notebooks", "solutions")
    command = ["git", "ls-files", "-z", *parts]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\0"
    ):
        if name:
            yield ROOT / name


def test_a_lesson_runs_from_the_wheel(course: Installed, engine: Engine, clean: object) -> None:
    code, out, err = course.run("run", "01-multi-stage", engine=engine)
    assert code == 0, err
    assert (course.folder / "out/01-multi-stage.html").is_file(), out


def test_an_exercise_is_started_and_checked_from_the_wheel(course: Installed, engine: Engine) -> None:
    code, out, err = course.run("exercise", "start", "multi-stage-go", engine=engine)
    assert code == 0, err
    assert Path(out.strip()) == course.folder / "stagelens-course/work/multi-stage-go"
    code, out, _ = course.run("exercise", "list", engine=engine)
    assert (code, "stagelens-course/work/multi-stage-go" in out.replace("\n", "")) == (0, True)
