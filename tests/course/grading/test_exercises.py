"""The exercises beside multi-stage-go: what they give is slow and right, their solutions earn every point."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from stagelens.engine import Engine
from stagelens_course import grading
from stagelens_course.grading import ExerciseInvalid
from stagelens_course.grading.catalog import load_exercise
from stagelens_course.grading.submission_probe import SubmissionProbe

ROOT = Path(__file__).parents[3]
EXERCISES = {exercise.id: exercise for exercise in grading.load_exercises()}
# What the project as it was given fails; it is right in all else.
GIVEN = {"node-dependencies": {"source-cached"}, "java-order": {"source-cached"}}


def failed(report: grading.GradeReport) -> dict[str, str]:
    assert report.error is None
    return {check.id: check.seen for check in report.checks if not check.passed}


@pytest.mark.engine
@pytest.mark.network
@pytest.mark.timeout(1800)  # six builds, each with what a registry of packages gives
@pytest.mark.parametrize("name", GIVEN)
def test_the_solution_earns_every_point_and_the_given_project_does_not(engine: Engine, name: str) -> None:
    exercise = EXERCISES[name]
    assert failed(grading.grade_folder(exercise, exercise.solution, engine=engine)) == {}
    assert failed(grading.grade_folder(exercise, exercise.folder, engine=engine)).keys() == GIVEN[name]


@pytest.mark.engine
@pytest.mark.network
def test_dependencies_brought_along_are_no_installation(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "node_modules/escape-html").mkdir(parents=True)
    (tmp_path / "node_modules/escape-html/index.js").write_text("module.exports = String;")
    (tmp_path / "Dockerfile").write_text(
        "FROM diamol/node\nENV USER=sixeyed\nEXPOSE 80\nWORKDIR /app\nCOPY . .\nCMD node server.js\n"
    )
    report = grading.grade_folder(EXERCISES["node-dependencies"], tmp_path, engine=engine)
    assert failed(report).keys() == {"dependencies-installed"}


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_an_exercise_is_whole(exercise: grading.Exercise) -> None:
    assert (exercise.folder / "Dockerfile").is_file()
    assert (exercise.folder / "README.md").is_file()
    assert (exercise.solution / "README.md").is_file()
    assert (exercise.solution / "Dockerfile").read_text() != (exercise.folder / "Dockerfile").read_text()
    for edit in exercise.edits.values():
        assert (exercise.folder / edit.file).read_text().count(edit.find) == 1
    for check in exercise.checks:
        assert check.hint.endswith(".") or check.hint.endswith("`.")
        assert check.points > 0
        for option in ("edit", "breaks"):
            assert check.options.get(option) in {None, *exercise.edits}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"title": None}, "'title' is missing"),
        ({"checks": [{"id": "a", "kind": "magic"}]}, "no kind 'magic'"),
        ({"edits": {"a": {"file": "x"}}}, "find"),
        ({"limits": {"speed": 1}}, "speed"),
    ],
)
def test_a_description_that_is_wrong_is_told(tmp_path: Path, change: dict[str, object], why: str) -> None:
    text = (ROOT / "solutions/multi-stage-go/exercise.toml").read_text()
    given = {k: v for k, v in (tomllib.loads(text) | change).items() if v is not None}
    place = tmp_path / "solutions/one"
    place.mkdir(parents=True)
    (place / "exercise.toml").write_text(_toml(given))
    with pytest.raises(ExerciseInvalid, match=why) as caught:
        load_exercise("one", tmp_path)
    assert "exercise.toml" in str(caught.value)


def test_names_are_looked_up_and_never_used_as_paths(tmp_path: Path) -> None:
    for name in ("../multi-stage-go", "", "nothing"):
        with pytest.raises(ExerciseInvalid, match="choose from: java-order"):
            grading.load_exercise(name)


@pytest.mark.engine
def test_what_is_left_of_a_submission_that_is_refused(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").symlink_to("/etc/passwd")
    report = grading.grade_folder(EXERCISES["multi-stage-go"], tmp_path, engine=engine)
    assert report.error is None
    assert report.earned == 0
    assert "A link leads out of the submission" in report.checks[0].seen
    with (
        pytest.raises(grading.SubmissionRefused),
        SubmissionProbe(EXERCISES["multi-stage-go"], tmp_path, engine),
    ):
        pass


def _toml(value: object) -> str:
    """Enough of TOML for a description."""
    assert isinstance(value, dict)
    lines: list[str] = []
    for key, item in value.items():
        lines.append(f"{key} = {_value(item)}")
    return "\n".join(lines)


def _value(item: object) -> str:
    if isinstance(item, dict):
        return "{" + ", ".join(f"{k} = {_value(v)}" for k, v in item.items()) + "}"
    if isinstance(item, list):
        return "[" + ", ".join(_value(v) for v in item) + "]"
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, str):
        return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(item)
