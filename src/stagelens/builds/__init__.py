"""Context to BuildTrace: real builds, tied to the lines of the Dockerfile."""

from stagelens.builds.errors import BuildFailed
from stagelens.builds.job import Job
from stagelens.builds.run import build, run
from stagelens.builds.timing import critical_path, work_seconds
from stagelens.builds.trace import Backend, BuildTrace, LogLine, Vertex

__all__ = [
    "Backend",
    "BuildFailed",
    "BuildTrace",
    "Job",
    "LogLine",
    "Vertex",
    "build",
    "critical_path",
    "run",
    "work_seconds",
]
