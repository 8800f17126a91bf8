"""Building a context if needed, and listing the files of its stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stagelens import snapshot
from stagelens.buildkit import Cancel
from stagelens.builds import BuildTrace, OnVertex, build
from stagelens.engine import Engine, connect
from stagelens.errors import short_traceback_on_interrupt
from stagelens.snapshot import Exploration


@short_traceback_on_interrupt()
def explore(
    context: str | Path,
    trace: BuildTrace | None = None,
    *,
    build_args: Mapping[str, str | None] | None = None,
    network: str | None = None,
    platform: str | None = None,
    engine: Engine | None = None,
    on_vertex: OnVertex | None = None,
    cancel: Cancel | None = None,
    cache_folder: Path | None = None,
) -> Exploration:
    """List the files of every stage after every instruction.

    Parameters
    ----------
    context
        The build context, a folder.
    trace
        The build to look into; without it the context is built first.
    build_args
        Values of ARG instructions; those of the build, if `trace` is given.
    network
        The network mode of RUN instructions; that of the build, if `trace` is given.
    platform
        The platform to build for; that of the build, if `trace` is given.
    engine
        The engine to use; by default `stagelens.engine.connect` finds one.
    on_vertex
        Called with each build step that changes, and its new log lines.
    cancel
        Stops the build and the listing when it is called.
    cache_folder
        Where listings are stored between calls; by default the user's cache folder.

    Returns
    -------
    Exploration
        The files of each stage that the build needed.

    Raises
    ------
    BuildFailed
        If the context does not build.
    BuildCancelled
        If `cancel` was called.
    EngineNotFound
        If no engine answers.
    ExplorationFailed
        If the files cannot be listed, for example because the context has changed since the build.
    """
    found = engine or connect()
    if trace is None:
        trace = build(
            context,
            build_args=build_args,
            network=network,
            platform=platform,
            engine=found,
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
        cache_folder=cache_folder,
    )
