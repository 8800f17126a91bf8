"""Intake of untrusted submissions: folders, archives, and downloads of Moodle, Canvas or nbgrader."""

from stagelens_course.classroom.intake.discovery import (
    FoundSubmissions,
    check_submissions_exist,
    find_submissions,
)
from stagelens_course.classroom.intake.packing import pack_submission, unpack_submission
from stagelens_course.classroom.intake.submission import (
    ArchiveLimits,
    PackedSubmission,
    Submission,
    SubmissionRejected,
)

__all__ = [
    "ArchiveLimits",
    "FoundSubmissions",
    "PackedSubmission",
    "Submission",
    "SubmissionRejected",
    "check_submissions_exist",
    "find_submissions",
    "pack_submission",
    "unpack_submission",
]
