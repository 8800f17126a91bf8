"""Results of a class as JSON, CSV, JUnit XML and HTML, all created from `LearnerResult` values."""

from stagelens_course.classroom.results.model import ClassResults, LearnerResult, ResultStatus
from stagelens_course.classroom.results.report_files import (
    ReportNotWritten,
    write_class_files,
    write_learner_files,
)

__all__ = [
    "ClassResults",
    "LearnerResult",
    "ReportNotWritten",
    "ResultStatus",
    "write_class_files",
    "write_learner_files",
]
