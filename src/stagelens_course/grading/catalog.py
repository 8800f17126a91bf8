"""The exercises: `exercises/ID` is what a learner gets, `solutions/ID` holds the answer and `exercise.toml`.

That file keeps an exercise's task for the grader in one place: its checks with their points, hints and
lessons, the edits that are tried, and the limits. A further exercise needs no Python.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stagelens_course.folder import course_folder
from stagelens_course.grading.checks import WAYS
from stagelens_course.grading.model import Check, Edit, Exercise, ExerciseInvalid, SubmissionLimits

ROOT = course_folder()
DESCRIPTION = "exercise.toml"
_CHECK = ("id", "kind", "title", "points", "hint", "lesson")


def load_exercises(root: Path = ROOT) -> tuple[Exercise, ...]:
    """Every exercise below `root`, by name."""
    found = sorted((root / "solutions").glob(f"*/{DESCRIPTION}"))
    return tuple(_load(path.parent.name, root) for path in found)


def load_exercise(name: str, root: Path = ROOT) -> Exercise:
    """The exercise of that name, `multi-stage-go` say.

    Raises
    ------
    ExerciseInvalid: there is none, or its description is wrong.
    """
    known = sorted(path.parent.name for path in (root / "solutions").glob(f"*/{DESCRIPTION}"))
    if name not in known:
        raise ExerciseInvalid(
            "There is no such exercise.", where=name, remedy=f"choose from: {', '.join(known) or 'none'}"
        )
    return _load(name, root)


def _load(name: str, root: Path = ROOT) -> Exercise:
    """Read one exercise's description; see `exercise`."""
    path = root / "solutions" / name / DESCRIPTION
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
        return _exercise(name, root, given)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        why = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ExerciseInvalid(
            "An exercise's description cannot be used.", where=str(path), why=why
        ) from error


def _exercise(name: str, root: Path, given: Mapping[str, Any]) -> Exercise:
    edits = {key: Edit(**value) for key, value in given.get("edits", {}).items()}
    checks = tuple(_check(row) for row in given["checks"])
    if len({check.id for check in checks}) != len(checks):
        raise ValueError("two checks have the same id")
    return Exercise(
        id=name,
        title=given["title"],
        folder=root / "exercises" / name,
        solution=root / "solutions" / name,
        checks=checks,
        images=tuple(given["images"]),
        limits=SubmissionLimits(**given.get("limits", {})),
        network=bool(given.get("network", False)),
        changeable=tuple(given["changeable"]),
        edits=edits,
    )


def _check(row: Mapping[str, Any]) -> Check:
    if row["kind"] not in WAYS:
        raise ValueError(f"check {row['id']!r}: no kind {row['kind']!r}; there are: {', '.join(WAYS)}")
    own = {key: value for key, value in row.items() if key not in _CHECK}
    return Check(**{key: row[key] for key in _CHECK}, options=own)
