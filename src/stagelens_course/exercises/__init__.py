"""An exercise as a learner works on it: a copy of the project, and an editor that checks the answer.

Names are imported on first use: commands need the copy only, and the editor's widgets are slow to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelens.lazy_imports import lazy_face

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
    "exercise_ui": ("ExerciseEditor", "NotSaved", "NotSolved", "Workbench"),
    "learner_copy": ("AlreadyStarted", "copy_exercise", "default_copy_folder", "reset_copy"),
}
__getattr__, __dir__ = lazy_face(__name__, _MODULES)
