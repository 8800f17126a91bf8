"""The exercises: `exercises/ID` is the learner's project, `solutions/ID` holds an answer and exercise.toml.

exercise.toml describes the exercise for the grader, see docs/reference/exercises.md. It needs no Python.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from stagelens_course.folder import course_folder
from stagelens_course.grading.checks import CHECKS, Check, EditName
from stagelens_course.grading.model import Edit, Exercise, ExerciseInvalid, SubmissionLimits

ROOT = course_folder()
DESCRIPTION = "exercise.toml"
# For each type of a value: its name, and the Python types that TOML has for it.
_TYPES: Mapping[object, tuple[str, type | tuple[type, ...]]] = {
    str: ("text", str),
    str | None: ("text", str),
    EditName: ("edit", str),
    int: ("integer", int),
    float: ("number", (int, float)),
    bool: ("boolean", bool),
    tuple[str, ...]: ("list of texts", list),
    tuple[Mapping[str, Any], ...]: ("list of tables", list),
    Mapping[str, Any]: ("table", dict),
    Mapping[str, Mapping[str, Any]]: ("table of tables", dict),
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The top level of an exercise.toml.

    Attributes
    ----------
    title
        The exercise's title.
    images
        The base images that a submission may use; the first one contains the toolchain.
    editable
        Patterns of the files that learners may change.
    network
        Whether RUN steps may use the network.
    limits
        The limits of a submission.
    edits
        Changes that checks make to a submission, by name.
    checks
        The checks, in the order of the report.
    """

    title: str
    images: tuple[str, ...]
    editable: tuple[str, ...]
    network: bool = False
    limits: Mapping[str, Any] = field(default_factory=dict[str, Any])
    edits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    checks: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Option:
    """A key of a table in exercise.toml.

    Attributes
    ----------
    key
        The key.
    type
        The name of the value's type.
    required
        Whether the key must be there.
    default
        The value without the key.
    """

    key: str
    type: str
    required: bool
    default: Any = None


def options(table: type) -> tuple[Option, ...]:
    """List the keys of a table in exercise.toml.

    Parameters
    ----------
    table
        The dataclass that the table is read into.
    """
    hints = get_type_hints(table)
    found: list[Option] = []
    for each in fields(table):
        default = each.default if each.default_factory is MISSING else each.default_factory()
        required = default is MISSING
        name = _TYPES[hints[each.name]][0]
        found.append(Option(each.name, name, required, None if required else default))
    return tuple(found)


def load_exercises(root: Path = ROOT) -> tuple[Exercise, ...]:
    """Load all exercises of a course folder, sorted by name.

    Parameters
    ----------
    root
        The course folder.

    Raises
    ------
    ExerciseInvalid
        If an exercise.toml is not valid.
    """
    return tuple(_load(name, root) for name in _names(root))


def load_exercise(name: str, root: Path = ROOT) -> Exercise:
    """Load one exercise.

    Parameters
    ----------
    name
        The exercise's name, such as `multi-stage-go`.
    root
        The course folder.

    Raises
    ------
    ExerciseInvalid
        If the exercise does not exist, or its exercise.toml is not valid.
    """
    known = _names(root)
    if name not in known:
        raise ExerciseInvalid(
            "There is no such exercise.", where=name, remedy=f"choose from: {', '.join(known) or 'none'}"
        )
    return _load(name, root)


def _names(root: Path) -> list[str]:
    return sorted(path.parent.name for path in (root / "solutions").glob(f"*/{DESCRIPTION}"))


def _load(name: str, root: Path) -> Exercise:
    path = root / "solutions" / name / DESCRIPTION
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        description = _read(Description, table, "the file")
        return _exercise(name, root, description)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError) as error:
        raise ExerciseInvalid("The exercise is not valid.", where=str(path), why=str(error)) from error


def _exercise(name: str, root: Path, description: Description) -> Exercise:
    edits = {key: _read(Edit, table, f"edit {key!r}") for key, table in description.edits.items()}
    checks = tuple(_check(table, number, edits) for number, table in enumerate(description.checks, 1))
    if len({check.id for check in checks}) != len(checks):
        raise ValueError("two checks have the same id")
    if not description.images:
        raise ValueError("'images' is empty: the first image must be the toolchain's")
    return Exercise(
        id=name,
        title=description.title,
        folder=root / "exercises" / name,
        solution=root / "solutions" / name,
        checks=checks,
        images=description.images,
        limits=_read(SubmissionLimits, description.limits, "limits"),
        network=description.network,
        editable=description.editable,
        edits=edits,
    )


def _check(table: Mapping[str, Any], number: int, edits: Mapping[str, Edit]) -> Check:
    where = f"check {table.get('id', number)!r}"
    if "kind" not in table:
        raise ValueError(f"{where}: 'kind' is missing")
    kind = CHECKS.get(table["kind"])
    if kind is None:
        raise ValueError(f"{where}: no kind {table['kind']!r}; there are: {', '.join(CHECKS)}")
    values = {key: value for key, value in table.items() if key != "kind"}
    check = _read(kind, values, f"{where} ({kind.kind})")
    for option in options(kind):
        if option.type == "edit" and getattr(check, option.key) not in edits:
            raise ValueError(f"{where}: {option.key!r} is {getattr(check, option.key)!r}, which is no edit")
    return check


def _read(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """Make a dataclass of a TOML table; `where` names the table in errors."""
    known = options(kind)
    for option in known:
        if option.required and option.key not in table:
            raise ValueError(f"{where}: {option.key!r} is missing ({option.type})")
    if unknown := sorted(table.keys() - {option.key for option in known}):
        keys = ", ".join(option.key for option in known)
        raise ValueError(f"{where}: {unknown[0]!r} is not known; the keys are: {keys}")
    hints = get_type_hints(kind)
    values = {key: _value(hints[key], value, f"{where}: {key!r}") for key, value in table.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _value(hint: object, value: Any, where: str) -> Any:
    name, types = _TYPES[hint]
    members: list[Any] = []
    item = str if hint == tuple[str, ...] else dict
    if isinstance(value, list):
        members = value
    elif hint == Mapping[str, Mapping[str, Any]] and isinstance(value, dict):
        members = list(value.values())
    # To Python, a truth value is an integer.
    wrong = not isinstance(value, types) or (isinstance(value, bool) and hint is not bool)
    if wrong or not all(isinstance(member, item) for member in members):
        raise ValueError(f"{where} must be: {name}")
    return tuple(value) if isinstance(value, list) else value
