"""Look inside multi-stage Docker builds.

>>> import stagelens
>>> trace = stagelens.build("my-project")           # doctest: +SKIP
>>> print(stagelens.explore("my-project", trace))   # doctest: +SKIP

Names are imported on first use: most programs need only a part of the library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelens._version import __version__
from stagelens.lazy_imports import lazy_face

if TYPE_CHECKING:
    from stagelens._explore import explore
    from stagelens.buildkit import BuildCancelled, Cancel
    from stagelens.builds import BuildFailed, BuildTrace, build
    from stagelens.cache import BuildRecord, explain, record
    from stagelens.errors import StagelensError
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

_MODULES = {
    "_explore": ("explore",),
    "buildkit": ("BuildCancelled", "Cancel"),
    "builds": ("BuildFailed", "BuildTrace", "build"),
    "cache": ("BuildRecord", "explain", "record"),
    "errors": ("StagelensError",),
    "snapshot": ("Exploration", "history", "read_file"),
}
_PACKAGES = ("buildkit", "builds", "cache", "dockerfile", "engine", "snapshot")
__getattr__, __dir__ = lazy_face(__name__, _MODULES, _PACKAGES)
