"""Grading a class: submissions in, a notebook run for each, results out; local workers or a Dask cluster."""

from stagelens_course.classroom.runner.classrun import ClassRun, Listener, grading_notebook
from stagelens_course.classroom.runner.cluster import ClusterFailed, ClusterScheduler
from stagelens_course.classroom.runner.local import LocalScheduler

__all__ = ["ClassRun", "ClusterFailed", "ClusterScheduler", "Listener", "LocalScheduler", "grading_notebook"]
