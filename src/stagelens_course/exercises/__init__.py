"""An exercise as a learner works on it: a copy of the project, and an editor that checks the answer.

Names are imported on first use: commands need the copy only, and the editor's widgets are slow to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagelens_course.exercises.exercise_ui import ExerciseEditor, NotSaved, NotSolved, Workbench
    from stagelens_course.exercises.learner_copy import (
        AlreadyStarted,
        copy_exercise,
        default_copy_folder,
        reset_copy,
    )

__all__ = [
    "AlreadyStarted",
    "ExerciseEditor",
    "NotSaved",
    "NotSolved",
    "Workbench",
    "copy_exercise",
    "default_copy_folder",
    "reset_copy",
]

_MODULES = {
    **dict.fromkeys(("ExerciseEditor", "NotSaved", "NotSolved", "Workbench"), "exercise_ui"),
    **dict.fromkeys(("AlreadyStarted", "copy_exercise", "default_copy_folder", "reset_copy"), "learner_copy"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
