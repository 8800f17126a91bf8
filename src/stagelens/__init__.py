"""stagelens: look inside multi-stage Docker builds.

>>> import stagelens
>>> trace = stagelens.build("my-project")           # doctest: +SKIP
>>> print(stagelens.explore("my-project", trace))   # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagelens import engine as _engine
from stagelens._version import __version__
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.builds import BuildFailed, BuildTrace, build
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
    **options: Any,
) -> Exploration:
    """The files of every stage of `context` after every instruction; builds it first unless `trace` is given.

    `options` are those of `stagelens.build` that change what is built: build_args, network, platform.

    Raises
    ------
    BuildFailed, StagelensError: as `stagelens.build` and `stagelens.snapshot.explore` do.
    """
    from stagelens import snapshot
    from stagelens.snapshot.prober import PROBE_IMAGE
    from stagelens_course import images

    found = engine or _engine.connect()
    images.ensure(found, [PROBE_IMAGE])
    if trace is None:
        trace = build(context, engine=found, **options)
    return snapshot.explore(found, context, trace, **options)


def __getattr__(name: str) -> Any:
    """What looks into stages is imported when it is asked for: most commands need nothing of it."""
    if name not in ("Exploration", "history", "read_file"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("stagelens.snapshot"), name)
