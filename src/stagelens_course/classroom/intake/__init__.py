"""Submissions as they come: folders, archives, downloads of Moodle, Canvas or nbgrader; all of it hostile."""

from stagelens_course.classroom.intake.find import Found, find, look
from stagelens_course.classroom.intake.model import Limits, Packed, Refused, Submission
from stagelens_course.classroom.intake.pack import pack, unpack

__all__ = ["Found", "Limits", "Packed", "Refused", "Submission", "find", "look", "pack", "unpack"]
