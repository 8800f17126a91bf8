"""Exercises, their checks, and the grading of one learner's submission or of a whole class."""
