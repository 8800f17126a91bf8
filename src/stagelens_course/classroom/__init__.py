"""Grading of a class: intake of its submissions, a run that grades them, and the results."""
