"""All exercises: their files are valid and documented, and their solutions earn every point."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from stagelens.engine import Engine
from stagelens_course import grading
from stagelens_course.grading import ExerciseInvalid
from stagelens_course.grading.catalog import Description, Option, load_exercise, options
from stagelens_course.grading.checks import CHECKS, Check
from stagelens_course.grading.model import Edit, SubmissionLimits
from stagelens_course.grading.submission_probe import SubmissionProbe

ROOT = Path(__file__).parents[3]
EXERCISES = {exercise.id: exercise for exercise in grading.load_exercises()}
# The checks that the unchanged project fails.
GIVEN = {"node-dependencies": {"source-cached"}, "java-order": {"source-cached"}}


def failed(report: grading.GradeReport) -> dict[str, str]:
    assert report.error is None
    return {check.id: check.seen for check in report.checks if not check.passed}


@pytest.mark.engine
@pytest.mark.network
@pytest.mark.timeout(1800)  # six builds, each with downloads from package registries
@pytest.mark.parametrize("name", GIVEN)
def test_the_solution_earns_every_point_and_the_given_project_does_not(engine: Engine, name: str) -> None:
    exercise = EXERCISES[name]
    assert failed(grading.grade_folder(exercise, exercise.solution, engine=engine)) == {}
    assert failed(grading.grade_folder(exercise, exercise.folder, engine=engine)).keys() == GIVEN[name]


@pytest.mark.engine
@pytest.mark.network
def test_submitted_dependencies_do_not_count_as_an_installation(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "node_modules/escape-html").mkdir(parents=True)
    (tmp_path / "node_modules/escape-html/index.js").write_text("module.exports = String;")
    (tmp_path / "Dockerfile").write_text(
        "FROM diamol/node\nENV USER=sixeyed\nEXPOSE 80\nWORKDIR /app\nCOPY . .\nCMD node server.js\n"
    )
    report = grading.grade_folder(EXERCISES["node-dependencies"], tmp_path, engine=engine)
    assert failed(report).keys() == {"dependencies-installed"}


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_exercise_has_all_files_and_valid_edits(exercise: grading.Exercise) -> None:
    assert (exercise.folder / "Dockerfile").is_file()
    assert (exercise.folder / "README.md").is_file()
    assert (exercise.solution / "README.md").is_file()
    assert (exercise.solution / "Dockerfile").read_text() != (exercise.folder / "Dockerfile").read_text()
    for edit in exercise.edits.values():
        assert (exercise.folder / edit.file).read_text().count(edit.find) == 1
    for check in exercise.checks:
        assert check.hint.endswith(".") or check.hint.endswith("`.")
        assert check.points > 0


CHECK = {"id": "a", "title": "A", "points": 1, "hint": "Try.", "lesson": "01-multi-stage"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"title": None}, "the file: 'title' is missing"),
        ({"titel": "A"}, "the file: 'titel' is not known"),
        ({"images": []}, "'images' is empty"),
        ({"images": "diamol/base"}, "'images' must be: list of texts"),
        ({"network": "yes"}, "'network' must be: boolean"),
        ({"checks": [{"id": "a", "kind": "magic"}]}, "check 'a': no kind 'magic'"),
        ({"checks": [{"title": "A"}]}, "check 1: 'kind' is missing"),
        ({"checks": [CHECK | {"kind": "builds"}] * 2}, "two checks have the same id"),
        ({"checks": [CHECK | {"kind": "size-ratio"}]}, "check 'a' .size-ratio.: 'max_ratio' is missing"),
        ({"checks": [CHECK | {"kind": "size-ratio", "max_ratio": 10}]}, "check 'a' .*: 'max_ratio' must be"),
        ({"checks": [CHECK | {"kind": "exposes", "port": "80"}]}, "check 'a' .*: 'port' must be: integer"),
        ({"checks": [CHECK | {"kind": "exposes", "port": 0}]}, "check 'a' .*: 'port' must be from 1"),
        ({"checks": [CHECK | {"kind": "excludes", "files": [1]}]}, "'files' must be: list of texts"),
        ({"checks": [CHECK | {"kind": "starts", "share": 1}]}, "check 'a' .starts.: 'share' is not known"),
        (
            {"checks": [CHECK | {"kind": "takes-effect", "edit": "none"}]},
            "'edit' is 'none', which is no edit",
        ),
        ({"edits": {"a": {"file": "x"}}}, "edit 'a': 'find' is missing"),
        ({"limits": {"speed": 1}}, "limits: 'speed' is not known"),
    ],
)
def test_invalid_exercise_file_is_refused_when_it_is_loaded(
    tmp_path: Path, change: dict[str, object], why: str
) -> None:
    text = (ROOT / "solutions/multi-stage-go/exercise.toml").read_text()
    description = {k: v for k, v in (tomllib.loads(text) | change).items() if v is not None}
    folder = tmp_path / "solutions/one"
    folder.mkdir(parents=True)
    (folder / "exercise.toml").write_text(_toml(description))
    with pytest.raises(ExerciseInvalid, match=why) as caught:
        load_exercise("one", tmp_path)
    assert "exercise.toml" in str(caught.value)


def documented_rows(heading: str) -> list[tuple[str, ...]]:
    """Return the cells of a table in docs/reference/exercises.md without the last column, which is prose."""
    section = (ROOT / "docs/reference/exercises.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [tuple(cell.strip().strip("`") for cell in line.split("|")[1:-2]) for line in lines[2:]]


def rows(table: type, left_out: frozenset[str] = frozenset()) -> list[tuple[str, ...]]:
    found = [option for option in options(table) if option.key not in left_out]
    return [(option.key, option.type, "required" if option.required else _cell(option)) for option in found]


def _cell(option: Option) -> str:
    if isinstance(option.default, bool):
        return str(option.default).lower()
    return f"{option.default:.12g}" if isinstance(option.default, int | float) else ""


def test_documentation_lists_the_keys_of_an_exercise_file() -> None:
    assert documented_rows("The file") == rows(Description)
    assert documented_rows("Limits") == rows(SubmissionLimits)
    assert documented_rows("Edits") == rows(Edit)
    assert documented_rows("Checks") == [("kind", "text", "required"), *rows(Check)]


def test_documentation_lists_each_kind_of_check_with_its_keys() -> None:
    common = frozenset(option.key for option in options(Check))
    expected: list[tuple[str, ...]] = []
    for kind, check in CHECKS.items():
        specific = rows(check, common)
        expected += [(kind, *row) for row in specific] or [(kind, "", "", "")]
    assert documented_rows("Kinds of check") == expected


def test_exercise_names_are_never_used_as_paths(tmp_path: Path) -> None:
    for name in ("../multi-stage-go", "", "nothing"):
        with pytest.raises(ExerciseInvalid, match="choose from: java-order"):
            grading.load_exercise(name)


@pytest.mark.engine
def test_refused_submission_earns_no_points_and_is_not_an_error(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").symlink_to("/etc/passwd")
    report = grading.grade_folder(EXERCISES["multi-stage-go"], tmp_path, engine=engine)
    assert report.error is None
    assert report.earned == 0
    assert "A symlink leads out of the submission" in report.checks[0].seen
    with (
        pytest.raises(grading.SubmissionRefused),
        SubmissionProbe(EXERCISES["multi-stage-go"], tmp_path, engine),
    ):
        pass


def _toml(value: object) -> str:
    """Write a description as TOML."""
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
