"""What a class's grading gives out: JSON, CSV, JUnit XML and HTML, all made from `Result`s."""

from stagelens_course.classroom.results.model import ClassResults, Result, Status
from stagelens_course.classroom.results.write import write_class, write_learner

__all__ = ["ClassResults", "Result", "Status", "write_class", "write_learner"]
