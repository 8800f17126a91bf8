"""Exercises, their checks by behaviour, and the grading of one submission."""

from stagelens_course.grading.catalogue import exercise, exercises
from stagelens_course.grading.grade import check_folder, grade_folder, needed_images
from stagelens_course.grading.model import (
    Check,
    CheckResult,
    Edit,
    Exercise,
    ExerciseInvalid,
    Limits,
    Report,
    SubmissionRefused,
)

__all__ = [
    "Check",
    "CheckResult",
    "Edit",
    "Exercise",
    "ExerciseInvalid",
    "Limits",
    "Report",
    "SubmissionRefused",
    "check_folder",
    "exercise",
    "exercises",
    "grade_folder",
    "needed_images",
]
