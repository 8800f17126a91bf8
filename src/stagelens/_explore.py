"""Explore a build: build the context if needed, then list the files of its stages."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from stagelens import snapshot
from stagelens.builds import BuildOptions, BuildTrace, build, with_build_options
from stagelens.engine import connect
from stagelens.errors import short_traceback_on_interrupt
from stagelens.snapshot import Exploration


@short_traceback_on_interrupt()
@with_build_options
def explore(
    context: str | Path,
    trace: BuildTrace | None = None,
    *,
    cache_folder: Path | None = None,
    **options: Unpack[BuildOptions],
) -> Exploration:
    """List the files of every stage after every instruction.

    Parameters
    ----------
    context
        The build context, a folder.
    trace
        The build to look into, which has the options of the build; without it the context is built first.
    cache_folder
        Where listings are stored between calls; by default the user's cache folder.
    **options
        The options of `stagelens.build`. If `trace` is given, only `engine`, `on_vertex` and `cancel` count.

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
    engine = options["engine"] = options.get("engine") or connect()
    if trace is None:
        trace = build(context, **options)
    return snapshot.explore(
        engine,
        context,
        trace,
        on_vertex=options.get("on_vertex"),
        cancel=options.get("cancel"),
        cache_folder=cache_folder,
    )
