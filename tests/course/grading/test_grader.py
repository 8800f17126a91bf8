"""Grading of a folder: points, errors of the grader, and the report's JSON form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from stagelens.buildkit import BuildError
from stagelens.engine import Engine
from stagelens_course import grading
from stagelens_course.grading import GradeReport, container
from stagelens_course.grading.container import ContainerResponse
from stagelens_course.grading.submission_probe import BuildOutcome, SubmissionProbe

GO = grading.load_exercise("multi-stage-go")


def failed(report: GradeReport) -> set[str]:
    assert report.error is None
    return {check.id for check in report.checks if not check.passed}


@pytest.mark.engine
def test_the_solution_earns_every_point(engine: Engine) -> None:
    # More cores than the machine has: the grader uses all of them.
    generous = replace(GO, limits=replace(GO.limits, cpus=64.0))
    report = grading.grade_folder(generous, GO.solution, engine=engine)
    assert failed(report) == set()
    assert report.earned == report.points == GO.points
    assert report.passed


@pytest.mark.engine
def test_unchanged_project_fails_only_the_checks_of_size_and_cache(engine: Engine) -> None:
    report = grading.grade_folder(GO, GO.folder, engine=engine)
    assert failed(report) == {"final-base", "no-toolchain", "size", "page-cached"}
    assert 0 < report.earned < report.points


@pytest.mark.engine
def test_unreadable_file_is_reported_by_its_name(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "mine/main.go")

    monkeypatch.setattr("stagelens_course.grading.grader.SubmissionProbe", refuse)
    report = grading.grade_folder(GO, tmp_path, engine=engine)
    assert report.error == "mine/main.go: Permission denied"


@pytest.mark.engine
def test_engine_fault_is_an_error_and_not_a_failed_check(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, set_timeouts: Callable[..., None]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BuildError("flightcontrol: exceeded retry timeout")

    monkeypatch.setattr("stagelens.builds.builder.solve", fail)
    set_timeouts(build_retry_pauses=())
    report = grading.grade_folder(GO, GO.solution, engine=engine)
    assert "nothing is wrong with the Dockerfile" in (report.error or "")
    assert report.checks == ()


def test_responses_on_different_ports_are_separate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(*_: object, port: int, **__: object) -> ContainerResponse:
        return ContainerResponse(f"port {port}")

    monkeypatch.setattr(container, "request_page", respond)
    monkeypatch.setattr(SubmissionProbe, "_outcome", lambda *_: BuildOutcome(None, image="an image"))
    monkeypatch.setattr(SubmissionProbe, "_client", "a client")
    probe = SubmissionProbe(GO, tmp_path, cast(Engine, None))
    assert [probe.request("first", port=port).body for port in (80, 8080, 80)] == [
        "port 80",
        "port 8080",
        "port 80",
    ]


def test_report_has_a_json_form(tmp_path: Path) -> None:
    check = grading.CheckResult("a", "A", 2.0, 0.0, False, "x", "y", "hint", "01-multi-stage")
    report = GradeReport("multi-stage-go", (check,), 2.0, 0.0, 1.5, notes=("a note",))
    assert GradeReport.from_json(report.to_json()) == report
