"""Context to BuildTrace: real builds, tied to the lines of the Dockerfile."""

from stagelens.build.errors import BuildFailed
from stagelens.build.job import Job
from stagelens.build.run import build, run
from stagelens.build.timing import critical_path, work_seconds
from stagelens.build.trace import Backend, BuildTrace, LogLine, Vertex

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
