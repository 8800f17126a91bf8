"""The course folder: filled from the shipped files, and nothing that a learner changed is overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stagelens.errors import StagelensError
from stagelens_course import folder as course
from stagelens_course.folder import FolderRefused, Installation, describe, find_lesson, install

LESSON = "notebooks/en/01.ipynb"
PROJECT = "ch04/exercises/one/Dockerfile"


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """Return a folder with two shipped files."""
    for name in (LESSON, PROJECT):
        path = tmp_path / "shipped" / name
        path.parent.mkdir(parents=True)
        path.write_text(f"{name}, version 1")
    return tmp_path / "shipped"


@pytest.fixture
def wheel(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run as installed from a wheel that carries the shipped files."""
    monkeypatch.setattr(course, "_SHIPPED", shipped)
    return shipped


def result(folder: Path, *, added: str = "", updated: str = "", outdated: str = "") -> Installation:
    return Installation(folder, tuple(added.split()), tuple(updated.split()), tuple(outdated.split()))


def test_a_new_folder_gets_every_file(shipped: Path, tmp_path: Path) -> None:
    found = install(tmp_path / "new/course", shipped)
    assert found == result(tmp_path / "new/course", added=f"{PROJECT} {LESSON}")
    assert (found.folder / LESSON).read_bytes() == (shipped / LESSON).read_bytes()
    assert describe(found) == [f"course folder {found.folder}: 2 files added"]


def test_what_pip_compiles_is_not_copied(shipped: Path, tmp_path: Path) -> None:
    compiled = shipped / "ch04/__pycache__/brush.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.touch()
    assert not any("__pycache__" in name for name in install(tmp_path / "course", shipped).added)


def test_a_complete_folder_is_not_changed(shipped: Path, tmp_path: Path) -> None:
    install(tmp_path / "course", shipped)
    assert install(tmp_path / "course", shipped) == result(tmp_path / "course")
    assert describe(result(tmp_path / "course")) == []


def test_a_file_that_the_learner_changed_is_not_overwritten(shipped: Path, tmp_path: Path) -> None:
    folder = install(tmp_path / "course", shipped).folder
    (folder / LESSON).write_text("my answers")
    assert install(folder, shipped) == result(folder)
    (shipped / LESSON).write_text("version 2")
    found = install(folder, shipped)
    assert found == result(folder, outdated=LESSON)
    assert (folder / LESSON).read_text() == "my answers"
    assert any(LESSON in line and "left alone" in line for line in describe(found))


def test_an_unchanged_file_follows_a_new_version(shipped: Path, tmp_path: Path) -> None:
    folder = install(tmp_path / "course", shipped).folder
    (shipped / LESSON).write_text("version 2")
    assert install(folder, shipped) == result(folder, updated=LESSON)
    assert (folder / LESSON).read_text() == "version 2"


def test_a_file_that_the_learner_renamed_is_copied_again(shipped: Path, tmp_path: Path) -> None:
    folder = install(tmp_path / "course", shipped).folder
    (folder / LESSON).rename(folder / "mine.ipynb")
    assert install(folder, shipped) == result(folder, added=LESSON)
    assert (folder / "mine.ipynb").exists()


def test_a_link_of_the_learner_is_not_written_through(shipped: Path, tmp_path: Path) -> None:
    folder = install(tmp_path / "course", shipped).folder
    target = tmp_path / "elsewhere"
    target.write_text("untouched")
    (folder / LESSON).unlink()
    (folder / LESSON).symlink_to(target)
    (shipped / LESSON).write_text("version 2")
    assert install(folder, shipped) == result(folder, outdated=LESSON)
    assert target.read_text() == "untouched"


def test_an_interrupted_copy_is_continued(shipped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "course"
    install(folder, shipped)
    (folder / PROJECT).unlink()
    manifest = folder / course.MANIFEST
    manifest.write_text(json.dumps({"version": "0.1.0", "files": {}}))
    assert install(folder, shipped) == result(folder, added=PROJECT)
    (shipped / LESSON).write_text("version 2")
    assert install(folder, shipped) == result(folder, updated=LESSON)


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"files": 1}'])
def test_a_folder_with_other_files_is_refused(shipped: Path, tmp_path: Path, manifest: str | None) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    if manifest is not None:
        (tmp_path / course.MANIFEST).write_text(manifest)
    with pytest.raises(FolderRefused, match="--folder DIR"):
        install(tmp_path, shipped)
    assert not (tmp_path / "notebooks").exists()


def test_a_file_where_a_folder_belongs_is_reported(shipped: Path, tmp_path: Path) -> None:
    folder = install(tmp_path / "course", shipped).folder
    (folder / LESSON).unlink()
    (folder / "notebooks/en").rmdir()
    (folder / "notebooks/en").write_text("a file")
    with pytest.raises(FolderRefused, match="notebooks/en"):
        install(folder, shipped)


def test_files_can_be_written_and_read_by_others_as_shipped(shipped: Path, tmp_path: Path) -> None:
    (shipped / PROJECT).chmod(0o444)
    folder = install(tmp_path / "course", shipped).folder
    assert (folder / PROJECT).stat().st_mode & 0o777 == 0o644


def test_a_wheels_course_folder_is_the_nearest_one(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert course.course_folder() == wheel
    folder = course.provide().folder
    assert folder == tmp_path / "stagelens-course"
    assert course.course_folder() == folder
    monkeypatch.chdir(folder / "notebooks/en")
    assert course.course_folder() == folder
    assert course.provide().folder == folder
    assert course.learner_folder() == folder


def test_a_clone_is_its_own_course_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).parents[2]
    assert course.is_clone()
    assert (course.course_folder(), course.learner_folder()) == (root, root)
    assert course.provide() == result(root)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def lessons(tmp_path: Path) -> Path:
    """Return a course folder with three lessons."""
    folder = tmp_path / "notebooks/en"
    folder.mkdir(parents=True)
    for name in ("01-first", "02-java", "02-node"):
        (folder / f"{name}.ipynb").touch()
    return tmp_path


@pytest.mark.parametrize(
    "name", ["1", "01", "01-f", "01-first", "01-first.ipynb", "notebooks/en/01-first.ipynb"]
)
def test_a_lesson_is_found_by_number_name_or_path(lessons: Path, name: str) -> None:
    assert find_lesson(name, lessons) == lessons / "notebooks/en/01-first.ipynb"


@pytest.mark.parametrize(
    ("name", "why"), [("02", None), ("9", None), ("", None), ("02-jva", "did you mean 02-java?")]
)
def test_an_unknown_or_ambiguous_lesson_is_refused_with_the_known_ones(
    lessons: Path, name: str, why: str | None
) -> None:
    with pytest.raises(StagelensError) as caught:
        find_lesson(name, lessons)
    assert caught.value.why == why
    assert caught.value.remedy == "choose one of: 01-first, 02-java, 02-node"


def test_an_unknown_language_is_refused_with_the_known_ones(lessons: Path) -> None:
    with pytest.raises(StagelensError) as caught:
        find_lesson("1", lessons, "fr")
    assert caught.value.remedy == "choose from: en"
