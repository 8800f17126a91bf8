"""The commands, run in a terminal."""

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


def test_help_lists_every_command() -> None:
    done = stagelens("--help")
    assert done.returncode == 0
    for name in app.list_commands(click.Context(app)):
        assert re.search(rf"^  {name} +[A-Z].*[.]$", done.stdout, re.MULTILINE), name


def test_mistyped_command_suggests_a_similar_one() -> None:
    done = stagelens("biuld", ".")
    assert done.returncode == 2
    assert "No such command 'biuld'. Did you mean 'build'?" in done.stderr


def test_build_command_imports_only_what_it_needs() -> None:
    unneeded = ("asyncio", "pydantic", "rich.progress", "jupyterlab", "papermill")
    unneeded += tuple(f"stagelens.{package}" for package in ("snapshot", "views"))
    unneeded += ("stagelens_course",)
    # docker-py imports paramiko if it is installed, which takes 65 ms and imports asyncio.
    program = "import sys; sys.modules['paramiko'] = None; import stagelens.cli.build; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()).isdisjoint(unneeded)


def test_ignore_file_that_is_not_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/.dockerignore").touch()
    (tmp_path / "docker/Dockerfile.ci").write_text("FROM scratch\nCOPY . /\n")
    nowhere = os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/none"}
    for command in ("build", "why", "explore"):
        done = stagelens(command, str(tmp_path), "-f", str(tmp_path / "docker/Dockerfile.ci"), env=nowhere)
        assert f"{tmp_path}/docker/.dockerignore is not read" in done.stderr, command
        assert (
            f"{tmp_path}/docker/Dockerfile.ci.dockerignore, or else {tmp_path}/.dockerignore" in done.stderr
        )


def test_error_message_has_no_terminal_escapes(tmp_path: Path) -> None:
    done = stagelens("exercise", "start", "multi-stage-go", "--to", str(tmp_path / "a\x1b[31m" / "b"))
    assert (tmp_path / "a\x1b[31m/b/Dockerfile").is_file(), done.stderr
    again = stagelens("exercise", "start", "multi-stage-go", "--to", str(tmp_path / "a\x1b[31m" / "b"))
    assert again.returncode == 1
    assert "\x1b" not in again.stderr
    assert r"a\u{1b}[31m/b" in again.stderr


def test_unencodable_character_is_escaped(tmp_path: Path) -> None:
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = stagelens("exercise", "start", "multi-stage-go", "--to", str(tmp_path / "한글"), env=ascii_only)
    assert done.returncode == 0, done.stderr
    assert r"\ud55c\uae00" in done.stdout


def test_refusal_of_the_system_is_an_error_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = stagelens("engine", "status", env=os.environ | {"STAGELENS_HOME": str(tmp_path / "file")})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"where: {tmp_path}/file" in done.stderr
    assert "next: " in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_full_disk_for_the_result_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "stagelens_course", "exercise", "list", "--json"]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_nan_is_out_of_bounds(tmp_path: Path) -> None:
    task = ("--exercise", "multi-stage-go", "--out", str(tmp_path / "report"))
    for option in ("--cpus", "--timeout"):
        assert stagelens("grade", str(tmp_path), *task, option, "nan").returncode == 2


@pytest.mark.engine
def test_notebook_that_cannot_run_is_an_error_message(tmp_path: Path) -> None:
    notebook = {"cells": [], "metadata": {"kernelspec": {"name": "no-such"}}, "nbformat": 4}
    for text, why in (("{", "JSON"), (json.dumps(notebook | {"nbformat_minor": 5}), "no-such")):
        (tmp_path / "mine.ipynb").write_text(text)
        done = stagelens("run", str(tmp_path / "mine.ipynb"), "--out", str(tmp_path / "out"))
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert why in done.stderr


def test_circular_symlink_has_no_build_history(tmp_path: Path) -> None:
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
    ],
)
def test_unknown_stage_is_refused_without_an_engine(command: tuple[str, ...], stages: str) -> None:
    nowhere = os.environ | {"DOCKER_HOST": "tcp://127.0.0.1:1"}
    name, *options = command
    done = stagelens(name, "ch04/exercises/multi-stage", *options, env=nowhere)
    assert done.returncode == 1
    assert f"Stage {options[-1]!r} does not exist." in done.stderr
    assert f"use one of these: {stages}" in done.stderr


@pytest.mark.engine
def test_stage_that_the_build_does_not_need_is_refused_before_the_build() -> None:
    options = ("--target", "build-stage", "--stage", "test-stage")
    done = stagelens("explore", "ch04/exercises/multi-stage", *options)
    assert done.returncode == 1
    assert "Stage 'test-stage' does not exist." in done.stderr
    assert "use one of these: build-stage\n" in done.stderr


@pytest.mark.engine
def test_unnamed_stage_is_a_target_by_its_label() -> None:
    done = stagelens("explore", "ch04/exercises/multi-stage", "--target", "stage-2", "--json")
    assert json.loads(done.stdout)["stages"][-1]["name"] == "stage-2", done.stderr


@pytest.mark.engine
def test_build_json_names_line_and_cache_of_each_step() -> None:
    stagelens("build", "ch04/exercises/multi-stage")
    steps = json.loads(stagelens("build", "ch04/exercises/multi-stage", "--json").stdout)["steps"]
    assert {step["line"] for step in steps} >= {2, 5, 6, 9}
    assert all(step["cached"] for step in steps if step["line"] in (2, 5, 6, 9))


@pytest.mark.engine
def test_failed_build_shows_its_line_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM diamol/base\nRUN exit 3\n")
    done = stagelens("build", str(tmp_path))
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert "exit code 3" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.engine
def test_doctor_reports_that_lessons_can_run() -> None:
    done = stagelens("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["ok"]
    names = {finding["name"] for finding in report["findings"]}
    assert names >= {"engine", "builds", "storage", "disk", "diamol/base", "port 800"}


@pytest.mark.engine
def test_explore_escapes_untrusted_text(tmp_path: Path) -> None:
    text = "FROM diamol/base AS a\nRUN echo '\x1b[2J\u202e[b]' > /o\nLABEL a='\x1b[5m'\n"
    (tmp_path / "Dockerfile").write_text(text)
    done = stagelens("explore", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "\\u{1b}[2J\\u{202e}[b]" in done.stdout
    assert "\\u{1b}[5m" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
