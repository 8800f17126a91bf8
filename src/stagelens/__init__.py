"""Look inside multi-stage Docker builds.

>>> import stagelens
>>> trace = stagelens.build("my-project")           # doctest: +SKIP
>>> print(stagelens.explore("my-project", trace))   # doctest: +SKIP

Names are imported on first use: most programs need only a part of the library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stagelens._version import __version__

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
    "stagelens._explore": ("explore",),
    "stagelens.buildkit": ("BuildCancelled", "Cancel"),
    "stagelens.builds": ("BuildFailed", "BuildTrace", "build"),
    "stagelens.cache": ("BuildRecord", "explain", "record"),
    "stagelens.errors": ("StagelensError",),
    "stagelens.snapshot": ("Exploration", "history", "read_file"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
_PACKAGES = ("buildkit", "builds", "cache", "dockerfile", "engine", "snapshot")


def __getattr__(name: str) -> Any:
    """Import a public name or package on first use."""
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
