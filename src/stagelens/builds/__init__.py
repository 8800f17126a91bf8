"""Context to BuildTrace: real builds, tied to the lines of the Dockerfile."""

from stagelens.builds.build_contexts import BuildContext, read_build_contexts
from stagelens.builds.build_options import BuildOptions, with_build_options
from stagelens.builds.build_spec import BuildSpec
from stagelens.builds.builder import build, run_build
from stagelens.builds.context_copy import ContextCopy
from stagelens.builds.failure import BuildFailed
from stagelens.builds.trace import Backend, BuildTrace, LogLine, OnVertex, Vertex, critical_path, work_seconds

__all__ = [
    "Backend",
    "BuildContext",
    "BuildFailed",
    "BuildOptions",
    "BuildSpec",
    "BuildTrace",
    "ContextCopy",
    "LogLine",
    "OnVertex",
    "Vertex",
    "build",
    "critical_path",
    "read_build_contexts",
    "run_build",
    "with_build_options",
    "work_seconds",
]
