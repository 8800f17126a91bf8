"""stagelens: look inside multi-stage Docker builds.

>>> import stagelens
>>> trace = stagelens.build("my-project")           # doctest: +SKIP
>>> print(stagelens.explore("my-project", trace))   # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stagelens import engine as _engine
from stagelens import images as _images
from stagelens.build import BuildFailed, BuildTrace, build
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.cache import BuildRecord, explain, record
from stagelens.errors import StagelensError
from stagelens.snapshot import Exploration, history, read_file
from stagelens.snapshot import explore as _explore
from stagelens.snapshot.prober import PROBE_IMAGE

__all__ = [
    "BuildCancelled",
    "BuildFailed",
    "BuildRecord",
    "BuildTrace",
    "Cancel",
    "Exploration",
    "StagelensError",
    "build",
    "explain",
    "explore",
    "history",
    "read_file",
    "record",
]


def explore(
    context: str | Path,
    trace: BuildTrace | None = None,
    *,
    engine: _engine.Engine | None = None,
    **options: Any,
) -> Exploration:
    """The files of every stage of `context` after every instruction; builds it first unless `trace` is given.

    `options` are those of `stagelens.build` that change what is built: build_args, network, platform.

    Raises
    ------
    BuildFailed, StagelensError: as `stagelens.build` and `stagelens.snapshot.explore` do.
    """
    found = engine or _engine.connect()
    _images.ensure(found, [PROBE_IMAGE])
    if trace is None:
        trace = build(context, engine=found, **options)
    return _explore(found, context, trace, **options)
