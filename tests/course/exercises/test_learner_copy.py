"""A learner's copy of an exercise: started once, and nothing in it is ever lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stagelens_testing.resources import resource_limit

from stagelens_course import grading
from stagelens_course.exercises import learner_copy

ROOT = Path(__file__).parents[3]
GO = grading.load_exercise("multi-stage-go")


def stagelens(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stagelens_course", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_start_copies_the_project_and_never_over_somebodys_files(tmp_path: Path) -> None:
    folder = learner_copy.copy_exercise(GO, tmp_path / "mine")
    assert (folder / "main.go").read_bytes() == (GO.folder / "main.go").read_bytes()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(learner_copy.AlreadyStarted, match="reset"):
        learner_copy.copy_exercise(GO, folder)
    assert (folder / "Dockerfile").read_text() == "FROM scratch\n"


def test_reset_keeps_what_was_there_however_often(tmp_path: Path) -> None:
    folder = learner_copy.copy_exercise(GO, tmp_path / "mine")
    kept: list[Path] = []
    for text in ("one", "two", "three"):
        (folder / "Dockerfile").write_text(text)
        again, place = learner_copy.reset_copy(GO, folder)
        assert again == folder
        assert place is not None
        kept.append(place)
    assert [(place / "Dockerfile").read_text() for place in kept] == ["one", "two", "three"]
    assert (folder / "Dockerfile").read_text() == (GO.folder / "Dockerfile").read_text()


def test_a_disk_that_is_full_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    folder = learner_copy.copy_exercise(GO, tmp_path / "mine")
    (folder / "Dockerfile").write_text("mine")
    with resource_limit(resource.RLIMIT_FSIZE, 100), pytest.raises(OSError, match="File too large"):
        learner_copy.reset_copy(GO, folder)
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "Dockerfile").read_text() == "mine"


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("moment", range(1, 5))
def test_an_interrupt_comes_when_all_is_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int, times: int
) -> None:
    folder = learner_copy.copy_exercise(GO, tmp_path / "mine")
    (folder / "Dockerfile").write_text("mine")
    left, rename = [moment], Path.rename

    def renamed(place: Path, target: Path) -> Path:
        left[0] -= 1
        for _ in range(times if left[0] == 0 else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return rename(place, target)

    monkeypatch.setattr(Path, "rename", renamed)
    with pytest.raises(KeyboardInterrupt):
        learner_copy.reset_copy(GO, folder)
    (kept,) = (place for place in tmp_path.iterdir() if place != folder)
    assert (kept / "Dockerfile").read_text() == "mine"
    assert {p.name for p in folder.iterdir()} == {p.name for p in GO.folder.iterdir()}


def test_reset_of_what_was_never_started_starts_it(tmp_path: Path) -> None:
    assert learner_copy.reset_copy(GO, tmp_path / "new") == (tmp_path / "new", None)


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


@pytest.mark.engine
def test_a_check_whose_terminal_is_closed_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stagelens_course", "check", "multi-stage-go"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}

    def as_usual() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who started us by `nohup` has it ignored

    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, preexec_fn=as_usual, **pipes
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "asking the container\n":
                assert list(tmp_path.iterdir())
                process.send_signal(signal.SIGHUP)
    assert process.returncode == 128 + signal.SIGHUP
    assert not list(tmp_path.iterdir()), "what the engine has is looked for at the end of the whole run"


def test_check_of_a_folder_that_is_no_exercise(tmp_path: Path) -> None:
    unnamed = stagelens("check", str(tmp_path))
    assert unnamed.returncode == 1
    assert "--exercise" in unnamed.stderr
    for nothing in (tmp_path / "mistyped", tmp_path / "file"):
        (tmp_path / "file").touch()
        done = stagelens("check", str(nothing), "--exercise", GO.id)
        assert done.returncode == 1, "nothing else is checked in its place"
        assert "no such folder" in done.stderr


def test_a_reset_moves_nothing_but_the_exercise(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("mine")
    with pytest.raises(learner_copy.AlreadyStarted, match="not this exercise"):
        learner_copy.reset_copy(GO, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_one_may_be_in_the_folder_that_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    learner_copy.copy_exercise(GO, Path())
    Path("Dockerfile").write_text("one")
    _, kept = learner_copy.reset_copy(GO, Path())
    assert Path("Dockerfile").read_bytes() == (GO.folder / "Dockerfile").read_bytes()
    assert kept is not None
    assert (kept / "Dockerfile").read_text() == "one"
