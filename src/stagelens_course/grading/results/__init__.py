"""What a class's grading gives out: JSON, CSV, JUnit XML and HTML, all made from `Result`s."""

from stagelens_course.grading.results.model import ClassResults, Result, Status
from stagelens_course.grading.results.write import write_class, write_learner

__all__ = ["ClassResults", "Result", "Status", "write_class", "write_learner"]
