"""Pictures of builds and snapshots: widgets with a static HTML twin and a plain-text form."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stagelens.errors import short_traceback_on_interrupt
from stagelens.views.i18n import language

if TYPE_CHECKING:
    from stagelens.views.build import BuildView
    from stagelens.views.editor import DockerfileEditor
    from stagelens.views.explorer import StageExplorer
    from stagelens.views.layers import LayerExplorer
    from stagelens.views.line import StatusLine
    from stagelens.views.measure import image_measure
    from stagelens.views.predict import PredictCache
    from stagelens.views.sizes import SizeCompare
    from stagelens.views.why import WhyView

__all__ = [
    "BuildView",
    "DockerfileEditor",
    "LayerExplorer",
    "PredictCache",
    "SizeCompare",
    "StageExplorer",
    "StatusLine",
    "WhyView",
    "image_measure",
    "language",
]

_MODULES = {
    "BuildView": "build",
    "DockerfileEditor": "editor",
    "LayerExplorer": "layers",
    "PredictCache": "predict",
    "SizeCompare": "sizes",
    "StageExplorer": "explorer",
    "StatusLine": "line",
    "WhyView": "why",
    "image_measure": "measure",
}


@short_traceback_on_interrupt()
def __getattr__(name: str) -> Any:
    """Widgets are imported when they are asked for: the command line needs the numbers alone, and at once."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
