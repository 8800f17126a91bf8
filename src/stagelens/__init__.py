"""stagelens: look inside multi-stage Docker builds.

>>> import stagelens
>>> trace = stagelens.build("my-project")           # doctest: +SKIP
>>> print(stagelens.explore("my-project", trace))   # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagelens import engine as _engine
from stagelens._version import __version__
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.builds import BuildFailed, BuildTrace, build
from stagelens.builds.run import OnVertex
from stagelens.cache import BuildRecord, explain, record
from stagelens.errors import StagelensError, short_traceback_on_interrupt

if TYPE_CHECKING:
    from stagelens.snapshot import Exploration, history, read_file

__all__ = [
    "BuildCancelled",
    "BuildFailed",
    "BuildRecord",
    "BuildTrace",
    "Cancel",
    "Exploration",
    "StagelensError",
    "__version__",
    "build",
    "explain",
    "explore",
    "history",
    "read_file",
    "record",
]


@short_traceback_on_interrupt()
def explore(
    context: str | Path,
    trace: BuildTrace | None = None,
    *,
    engine: _engine.Engine | None = None,
    build_args: Mapping[str, str | None] | None = None,
    network: str | None = None,
    platform: str | None = None,
    on_vertex: OnVertex | None = None,
    cancel: Cancel | None = None,
) -> Exploration:
    """List the files of every stage after each of its instructions.

    Parameters
    ----------
    context
        The folder that is built.
    trace
        The build to look into; without it, `context` is built first.
    engine
        The engine that has the build, by default the one that `stagelens.engine.connect` finds.
    build_args, network, platform
        The options of the build, as for `stagelens.build`; pass again what the build was given.
    on_vertex
        A function that is called for each step of the build with its new log lines.
    cancel
        A handle that ends the work.

    Returns
    -------
    Exploration
        The stages that the target needs, in order of the Dockerfile.

    Raises
    ------
    BuildFailed
        If the build fails.
    StagelensError
        If the engine has no BuildKit, or cannot show the files.
    """
    from stagelens import snapshot

    found = engine or _engine.connect()
    if trace is None:
        trace = build(
            context,
            engine=found,
            build_args=build_args,
            network=network,
            platform=platform,
            on_vertex=on_vertex,
            cancel=cancel,
        )
    return snapshot.explore(
        found,
        context,
        trace,
        build_args=build_args,
        network=network,
        platform=platform,
        on_vertex=on_vertex,
        cancel=cancel,
    )


def __getattr__(name: str) -> Any:
    """Import the snapshot package when one of its names is first used: most commands never use it."""
    if name not in ("Exploration", "history", "read_file"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("stagelens.snapshot"), name)
