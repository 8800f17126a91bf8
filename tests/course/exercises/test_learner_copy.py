"""A learner's copy of an exercise: it is made once, and no file in it is ever lost."""

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
from stagelens_course.exercises import AlreadyStarted, copy_exercise, reset_copy

ROOT = Path(__file__).parents[3]
GO = grading.load_exercise("multi-stage-go")


def stagelens(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stagelens_course", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_start_copies_the_project_and_overwrites_no_file(tmp_path: Path) -> None:
    folder = copy_exercise(GO, tmp_path / "mine")
    assert (folder / "main.go").read_bytes() == (GO.folder / "main.go").read_bytes()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(AlreadyStarted, match="reset"):
        copy_exercise(GO, folder)
    assert (folder / "Dockerfile").read_text() == "FROM scratch\n"


def test_each_reset_backs_up_the_earlier_files(tmp_path: Path) -> None:
    folder = copy_exercise(GO, tmp_path / "mine")
    backups: list[Path] = []
    for text in ("one", "two", "three"):
        (folder / "Dockerfile").write_text(text)
        again, backup = reset_copy(GO, folder)
        assert again == folder
        assert backup is not None
        backups.append(backup)
    assert [(backup / "Dockerfile").read_text() for backup in backups] == ["one", "two", "three"]
    assert (folder / "Dockerfile").read_text() == (GO.folder / "Dockerfile").read_text()


def test_reset_restores_the_copy_if_the_disk_fills(tmp_path: Path) -> None:
    folder = copy_exercise(GO, tmp_path / "mine")
    (folder / "Dockerfile").write_text("mine")
    with resource_limit(resource.RLIMIT_FSIZE, 100), pytest.raises(OSError, match="File too large"):
        reset_copy(GO, folder)
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "Dockerfile").read_text() == "mine"


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("moment", range(1, 5))
def test_interrupt_waits_until_the_reset_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int, times: int
) -> None:
    folder = copy_exercise(GO, tmp_path / "mine")
    (folder / "Dockerfile").write_text("mine")
    left, rename = [moment], Path.rename

    def renamed(path: Path, target: Path) -> Path:
        left[0] -= 1
        for _ in range(times if left[0] == 0 else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", renamed)
    with pytest.raises(KeyboardInterrupt):
        reset_copy(GO, folder)
    (backup,) = (path for path in tmp_path.iterdir() if path != folder)
    assert (backup / "Dockerfile").read_text() == "mine"
    assert {p.name for p in folder.iterdir()} == {p.name for p in GO.folder.iterdir()}


def test_reset_starts_an_exercise_that_was_not_started(tmp_path: Path) -> None:
    assert reset_copy(GO, tmp_path / "new") == (tmp_path / "new", None)


def test_exercise_commands_start_reset_and_list(tmp_path: Path) -> None:
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
    assert "multi-stage-go" in unknown.stderr, "the remedy lists the exercises"


@pytest.mark.engine
def test_check_exits_with_0_only_for_a_right_answer(tmp_path: Path) -> None:
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
def test_check_cleans_up_when_its_terminal_is_closed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stagelens_course", "check", "multi-stage-go"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}

    def default_hangup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` ignores it for all children

    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, preexec_fn=default_hangup, **pipes
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "requesting a page of the container\n":
                assert list(tmp_path.iterdir())
                process.send_signal(signal.SIGHUP)
    assert process.returncode == 128 + signal.SIGHUP
    assert not list(tmp_path.iterdir()), "the check for leftovers of the whole run covers the engine"


def test_check_refuses_a_folder_of_no_exercise(tmp_path: Path) -> None:
    unnamed = stagelens("check", str(tmp_path))
    assert unnamed.returncode == 1
    assert "--exercise" in unnamed.stderr
    for nothing in (tmp_path / "mistyped", tmp_path / "file"):
        (tmp_path / "file").touch()
        done = stagelens("check", str(nothing), "--exercise", GO.id)
        assert done.returncode == 1, "nothing else is checked instead"
        assert "no such folder" in done.stderr


def test_reset_refuses_a_folder_that_is_not_a_copy(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("mine")
    with pytest.raises(AlreadyStarted, match="not a copy of this exercise"):
        reset_copy(GO, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_reset_keeps_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    copy_exercise(GO, Path())
    Path("Dockerfile").write_text("one")
    _, backup = reset_copy(GO, Path())
    assert Path("Dockerfile").read_bytes() == (GO.folder / "Dockerfile").read_bytes()
    assert backup is not None
    assert (backup / "Dockerfile").read_text() == "one"
