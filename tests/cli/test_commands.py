"""The commands as a person runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from stagelens.cache import BuildHistory
from stagelens_course.cli import app

ROOT = Path(__file__).parents[2]


def stagelens(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stagelens_course", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env)


def test_the_help_names_every_command() -> None:
    done = stagelens("--help")
    assert done.returncode == 0
    for name in app.list_commands(click.Context(app)):
        assert re.search(rf"^  {name} +[A-Z].*[.]$", done.stdout, re.MULTILINE), name


def test_a_mistyped_command_is_told_with_the_one_that_was_meant() -> None:
    done = stagelens("biuld", ".")
    assert done.returncode == 2
    assert "No such command 'biuld'. Did you mean 'build'?" in done.stderr


def test_a_build_does_not_wait_for_what_it_does_not_need() -> None:
    needless = ("asyncio", "pydantic", "rich.progress", "jupyterlab", "papermill")
    needless += tuple(f"stagelens.{room}" for room in ("images", "snapshot", "run", "grade"))
    # docker-py imports paramiko wherever that is, as in a developer's environment: 65 ms, and asyncio.
    program = "import sys; sys.modules['paramiko'] = None; import stagelens.cli.build; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()).isdisjoint(needless)


def test_an_error_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    done = stagelens("exercise", "start", "multi-stage-go", "--to", str(tmp_path / "a\x1b[31m" / "b"))
    assert (tmp_path / "a\x1b[31m/b/Dockerfile").is_file(), done.stderr
    again = stagelens("exercise", "start", "multi-stage-go", "--to", str(tmp_path / "a\x1b[31m" / "b"))
    assert again.returncode == 1
    assert "\x1b" not in again.stderr
    assert r"a\u{1b}[31m/b" in again.stderr


def test_a_terminal_that_knows_no_such_character_gets_an_escape(tmp_path: Path) -> None:
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = stagelens("exercise", "start", "multi-stage-go", "--to", str(tmp_path / "한글"), env=ascii_only)
    assert done.returncode == 0, done.stderr
    assert r"\ud55c\uae00" in done.stdout


def test_what_the_system_refuses_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = stagelens("engine", "status", env=os.environ | {"STAGELENS_HOME": str(tmp_path / "file")})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"where: {tmp_path}/file" in done.stderr
    assert "next: " in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_a_result_that_finds_no_room_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "stagelens_course", "exercise", "list", "--json"]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_nan_is_within_no_bounds(tmp_path: Path) -> None:
    task = ("--exercise", "multi-stage-go", "--out", str(tmp_path / "report"))
    for option in ("--cpus", "--timeout"):
        assert stagelens("grade", str(tmp_path), *task, option, "nan").returncode == 2


@pytest.mark.engine
def test_a_notebook_that_cannot_be_run_is_told_in_words(tmp_path: Path) -> None:
    notebook = {"cells": [], "metadata": {"kernelspec": {"name": "no-such"}}, "nbformat": 4}
    for text, why in (("{", "JSON"), (json.dumps(notebook | {"nbformat_minor": 5}), "no-such")):
        (tmp_path / "mine.ipynb").write_text(text)
        done = stagelens("run", str(tmp_path / "mine.ipynb"), "--out", str(tmp_path / "out"))
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert why in done.stderr


def test_a_folder_that_is_a_circle_of_links_is_no_build_context(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    assert BuildHistory(tmp_path / "kept").last(circle) is None


@pytest.mark.engine
def test_explore_shows_every_stage_as_a_tree() -> None:
    done = stagelens("explore", "ch04/exercises/multi-stage")
    assert done.returncode == 0, done.stderr
    for word in ("build-stage", "test-stage", "stage-2", "+ /build.txt", "~ /build.txt"):
        assert word in done.stdout


@pytest.mark.engine
def test_explore_json_of_one_stage() -> None:
    done = stagelens("explore", "ch04/exercises/multi-stage", "--stage", "test-stage", "--json")
    (stage,) = json.loads(done.stdout)["stages"]
    assert stage["name"] == "test-stage"
    assert [i["line"] for i in stage["instructions"]] == [4, 5, 6]
    assert stage["instructions"][2]["changed"][0]["path"] == "build.txt"


@pytest.mark.parametrize(
    ("command", "stages"),
    [
        (("explore", "--stage", "zz"), "build-stage, test-stage, stage-2"),
        (("explore", "--target", "zz"), "build-stage, test-stage, stage-2"),
        (("build", "--target", "zz"), "build-stage, test-stage, stage-2"),
        (("explore", "--target", "build-stage", "--stage", "test-stage"), "build-stage\n"),
    ],
)
def test_a_stage_that_is_not_there_is_refused_before_any_engine_is_asked(
    command: tuple[str, ...], stages: str
) -> None:
    nowhere = os.environ | {"DOCKER_HOST": "tcp://127.0.0.1:1"}
    name, *options = command
    done = stagelens(name, "ch04/exercises/multi-stage", *options, env=nowhere)
    assert done.returncode == 1
    assert f"Stage {options[-1]!r} does not exist." in done.stderr
    assert f"use one of these: {stages}" in done.stderr


@pytest.mark.engine
def test_a_stage_without_a_name_is_a_target_by_its_label() -> None:
    done = stagelens("explore", "ch04/exercises/multi-stage", "--target", "stage-2", "--json")
    assert json.loads(done.stdout)["stages"][-1]["name"] == "stage-2", done.stderr


@pytest.mark.engine
def test_build_json_names_line_and_cache_of_each_step() -> None:
    stagelens("build", "ch04/exercises/multi-stage")
    steps = json.loads(stagelens("build", "ch04/exercises/multi-stage", "--json").stdout)["steps"]
    assert {step["line"] for step in steps} >= {2, 5, 6, 9}
    assert all(step["cached"] for step in steps if step["line"] in (2, 5, 6, 9))


@pytest.mark.engine
def test_a_failing_build_ends_with_its_line_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM diamol/base\nRUN exit 3\n")
    done = stagelens("build", str(tmp_path))
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert "exit code 3" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.engine
def test_doctor_says_that_lessons_can_run() -> None:
    done = stagelens("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["ok"]
    names = {finding["name"] for finding in report["findings"]}
    assert names >= {"engine", "builds", "storage", "disk", "diamol/base", "port 800"}


@pytest.mark.engine
def test_explore_shows_what_a_stranger_wrote_and_does_not_act_on_it(tmp_path: Path) -> None:
    text = "FROM diamol/base AS a\nRUN echo '\x1b[2J\u202e[b]' > /o\nLABEL a='\x1b[5m'\n"
    (tmp_path / "Dockerfile").write_text(text)
    done = stagelens("explore", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "\\u{1b}[2J\\u{202e}[b]" in done.stdout
    assert "\\u{1b}[5m" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
