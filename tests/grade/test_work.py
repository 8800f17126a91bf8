"""A learner's copy of an exercise: started once, and nothing in it is ever lost."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from stagelens_testing.held import limited

from stagelens import grade
from stagelens.grade import work

ROOT = Path(__file__).parents[2]
GO = grade.exercise("multi-stage-go")


def stagelens(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stagelens.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_start_copies_the_project_and_never_over_somebodys_files(tmp_path: Path) -> None:
    folder = work.start(GO, tmp_path / "mine")
    assert (folder / "main.go").read_bytes() == (GO.folder / "main.go").read_bytes()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(work.AlreadyStarted, match="reset"):
        work.start(GO, folder)
    assert (folder / "Dockerfile").read_text() == "FROM scratch\n"


def test_reset_keeps_what_was_there_however_often(tmp_path: Path) -> None:
    folder = work.start(GO, tmp_path / "mine")
    kept: list[Path] = []
    for text in ("one", "two", "three"):
        (folder / "Dockerfile").write_text(text)
        again, place = work.reset(GO, folder)
        assert again == folder
        assert place is not None
        kept.append(place)
    assert [(place / "Dockerfile").read_text() for place in kept] == ["one", "two", "three"]
    assert (folder / "Dockerfile").read_text() == (GO.folder / "Dockerfile").read_text()


def test_a_disk_that_is_full_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    folder = work.start(GO, tmp_path / "mine")
    (folder / "Dockerfile").write_text("mine")
    with limited(resource.RLIMIT_FSIZE, 100), pytest.raises(OSError, match="File too large"):
        work.reset(GO, folder)
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "Dockerfile").read_text() == "mine"


def test_reset_of_what_was_never_started_starts_it(tmp_path: Path) -> None:
    assert work.reset(GO, tmp_path / "new") == (tmp_path / "new", None)


def test_the_commands(tmp_path: Path) -> None:
    started = stagelens("exercise", "start", "multi-stage-go", "--to", str(tmp_path / "mine"))
    assert started.stdout.strip() == str(tmp_path / "mine")
    twice = stagelens("exercise", "start", "multi-stage-go", "--to", str(tmp_path / "mine"))
    assert twice.returncode == 1
    assert "Traceback" not in twice.stderr
    again = stagelens("exercise", "reset", "multi-stage-go", "--to", str(tmp_path / "mine"))
    assert "your files are in" in again.stderr
    listed = json.loads(stagelens("exercise", "list", "--json").stdout)
    assert {"multi-stage-go"} <= {row["name"] for row in listed}
    unknown = stagelens("exercise", "start", "nothing")
    assert "multi-stage-go" in unknown.stderr, "the remedy lists what there is"


@pytest.mark.engine
def test_check_ends_with_0_only_where_all_is_right(tmp_path: Path) -> None:
    wrong = stagelens("check", "exercises/multi-stage-go")
    assert wrong.returncode == 1, wrong.stderr
    for words in ("Add a second FROM", "05-why-multi-stage", "10 of 18 points"):
        assert words in wrong.stdout
    right = stagelens("check", "solutions/multi-stage-go", "--exercise", "multi-stage-go", "--json")
    assert right.returncode == 0, right.stderr
    report = json.loads(right.stdout)
    assert report["passed"]
    assert report["earned"] == report["points"] == 18


def test_check_of_a_folder_that_is_no_exercise(tmp_path: Path) -> None:
    done = stagelens("check", str(tmp_path))
    assert done.returncode == 1
    assert "choose from" in done.stderr
