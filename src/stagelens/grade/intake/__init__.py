"""Submissions as they come: folders, archives, downloads of Moodle, Canvas or nbgrader; all of it hostile."""

from stagelens.grade.intake.find import Found, find, look
from stagelens.grade.intake.model import Limits, Packed, Refused, Submission
from stagelens.grade.intake.pack import pack, unpack

__all__ = ["Found", "Limits", "Packed", "Refused", "Submission", "find", "look", "pack", "unpack"]
