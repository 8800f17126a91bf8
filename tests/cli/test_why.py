"""`stagelens build --why` and `stagelens why`, run one after the other."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stagelens.engine import Engine

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.engine


@pytest.fixture
def run(tmp_path: Path, engine: Engine) -> Run:
    """Return a function that runs the command with a separate history of builds."""
    home = {"STAGELENS_HOME": str(tmp_path / "home"), "DOCKER_HOST": engine.address}

    def stagelens(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stagelens_course", *arguments]
        environment = os.environ | home
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return stagelens


@pytest.fixture
def project(tmp_path: Path, unique: str) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM diamol/base\nCOPY . /c\nRUN echo {unique}\n")
    (folder / "[red]page.html").write_text(unique)
    return folder


def test_second_build_reports_the_changed_file(run: Run, project: Path) -> None:
    first = run("build", str(project), "--why")
    assert first.returncode == 0, first.stderr
    assert "No earlier build of this project is known" in first.stdout
    (project / "[red]page.html").write_text("edited")
    forecast = run("why", str(project))
    assert "[red]page.html has different content." in forecast.stdout
    assert "2 of 2 steps would run again" in forecast.stdout
    second = run("build", str(project), "--why", "--json")
    copy, echo = json.loads(second.stdout)["why"]
    assert (copy["state"], copy["files"], copy["causes"]) == ("ran", ["[red]page.html"], ["files"])
    assert "[red]page.html has different content" in echo["why"]
    assert "0 of 2 steps would run again" in run("why", str(project)).stdout


def test_warning_about_an_unnoticed_edit_names_a_command_that_helps(run: Run, project: Path) -> None:
    page = project / "[red]page.html"
    assert run("build", str(project)).returncode == 0
    times = page.stat()
    page.write_text(page.read_text().swapcase())
    os.utime(page, ns=(times.st_atime_ns, times.st_mtime_ns))
    forecast = run("why", str(project))
    assert "0 of 2 steps would run again" in forecast.stdout
    warning = run("build", str(project)).stderr.strip()
    assert warning.endswith(forecast.stderr.strip())
    assert "warning: BuildKit does not notice the new content of [red]page.html" in forecast.stderr
    subprocess.run(shlex.split(warning.split("`")[1]), check=True)
    assert "2 of 2 steps would run again" in run("why", str(project)).stdout
    assert "not notice" not in run("build", str(project)).stderr


def test_why_without_an_earlier_build_suggests_a_build(run: Run, project: Path) -> None:
    done = run("why", str(project))
    assert done.returncode == 1
    assert f"stagelens build {project}" in done.stderr
    assert "Traceback" not in done.stderr


def test_unwritable_state_folder_disables_only_the_comparison(
    run: Run, project: Path, tmp_path: Path
) -> None:
    state = tmp_path / "home" / "state"
    state.mkdir(parents=True)
    (state / "builds").write_text("a file in the folder's place")
    done = run("build", str(project))
    assert done.returncode == 0, done.stderr
    assert "cannot compare with this build" in done.stderr


def test_each_dockerfile_has_a_separate_history(run: Run, project: Path, unique: str) -> None:
    other = project.parent / "other.Dockerfile"
    other.write_text(f"FROM diamol/base AS only\nRUN echo {unique} > /other\n")
    assert run("build", str(project)).returncode == 0
    refused = run("why", str(project), "-f", str(other))
    assert "No earlier build" in refused.stderr
    built = run("build", str(project), "-f", str(other), "--json")
    assert [step["line"] for step in json.loads(built.stdout)["steps"]] == [1, 2]
    assert "0 of 1 steps would run again" in run("why", str(project), "--file", str(other)).stdout
    shown = run("explore", str(project), "-f", str(other), "--stage", "only")
    assert "+ /other" in shown.stdout
    missing = run("explore", str(project), "-f", str(other), "--stage", "zz")
    assert "Stage 'zz' does not exist." in missing.stderr


def test_why_and_explore_follow_the_platform(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "architectures"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        "FROM scratch AS tool-amd64\nCOPY amd64 /tool\nFROM scratch AS tool-arm64\nCOPY arm64 /tool\n"
        "FROM tool-${TARGETARCH}\nCOPY all /all\n"
    )
    for name in ("amd64", "arm64", "all"):
        (folder / name).write_text(name)
    for command in ("build", "why", "explore"):
        refused = run(command, str(folder), "--platform", "linux/amd64,linux/arm64")
        assert refused.returncode == 2
        assert "build one platform at a time" in " ".join(refused.stderr.split())
    options = (str(folder), "--platform", "linux/arm64/v8", "--json")
    built = run("build", *options)
    assert [step["stage"] for step in json.loads(built.stdout)["steps"]] == ["tool-arm64", "stage-2"]
    (folder / "amd64").write_text("edited")
    assert [step["state"] for step in json.loads(run("why", *options).stdout)] == ["CACHED", "CACHED"]
    (folder / "arm64").write_text("edited")
    assert [step["state"] for step in json.loads(run("why", *options).stdout)] == ["runs", "runs"]
    explored = json.loads(run("explore", *options).stdout)
    assert [stage["name"] for stage in explored["stages"]] == ["tool-arm64", "stage-2"]


def test_why_knows_the_files_of_a_named_context(run: Run, tmp_path: Path, engine: Engine) -> None:
    folder, assets = tmp_path / "project", tmp_path / "assets"
    for path in (folder, assets):
        path.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY --from=assets /logo /logo\n")
    (assets / "logo").write_text("one")
    options = (str(folder), "--build-context", f"assets={assets}", "--json")
    built = run("build", *options)
    if engine.info.version.startswith("20."):
        assert built.returncode == 1
        assert "begin the file with # syntax=docker/dockerfile:1" in built.stderr
        return
    assert built.returncode == 0, built.stderr
    (assets / "logo").write_text("edited")
    (step,) = json.loads(run("why", *options).stdout)
    assert (step["state"], step["files"]) == ("runs", ["assets:logo"])
