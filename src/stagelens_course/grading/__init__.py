"""Exercises, their checks by behavior, and the grading of one submission."""

from stagelens_course.grading.catalog import load_exercise, load_exercises
from stagelens_course.grading.checks import Check
from stagelens_course.grading.grader import check_folder, grade_folder, required_images
from stagelens_course.grading.model import (
    CheckResult,
    Edit,
    Exercise,
    ExerciseInvalid,
    GradeReport,
    SubmissionLimits,
    SubmissionRefused,
)

__all__ = [
    "Check",
    "CheckResult",
    "Edit",
    "Exercise",
    "ExerciseInvalid",
    "GradeReport",
    "SubmissionLimits",
    "SubmissionRefused",
    "check_folder",
    "grade_folder",
    "load_exercise",
    "load_exercises",
    "required_images",
]
