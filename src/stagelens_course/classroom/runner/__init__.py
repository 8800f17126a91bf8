"""Grading of a class: a notebook run for each submission, on local workers or a Dask cluster."""

from stagelens_course.classroom.runner.cluster_scheduler import ClusterFailed, ClusterScheduler
from stagelens_course.classroom.runner.grading_run import GradingRun, ProgressListener, grading_notebook
from stagelens_course.classroom.runner.local_scheduler import LocalScheduler

__all__ = [
    "ClusterFailed",
    "ClusterScheduler",
    "GradingRun",
    "LocalScheduler",
    "ProgressListener",
    "grading_notebook",
]
