"""Widgets for builds and snapshots, each with a static fallback in HTML and plain text."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stagelens.errors import short_traceback_on_interrupt
from stagelens.views.i18n import language

if TYPE_CHECKING:
    from stagelens.views.build_view import BuildView
    from stagelens.views.dockerfile_editor import DockerfileEditor
    from stagelens.views.layer_explorer import LayerExplorer
    from stagelens.views.predict_cache import PredictCache
    from stagelens.views.size_breakdown import image_breakdown
    from stagelens.views.size_compare import SizeCompare
    from stagelens.views.stage_explorer import StageExplorer
    from stagelens.views.status_line import StatusLine
    from stagelens.views.why_view import WhyView

__all__ = [
    "BuildView",
    "DockerfileEditor",
    "LayerExplorer",
    "PredictCache",
    "SizeCompare",
    "StageExplorer",
    "StatusLine",
    "WhyView",
    "image_breakdown",
    "language",
]

_MODULES = {
    "BuildView": "build_view",
    "DockerfileEditor": "dockerfile_editor",
    "LayerExplorer": "layer_explorer",
    "PredictCache": "predict_cache",
    "SizeCompare": "size_compare",
    "StageExplorer": "stage_explorer",
    "StatusLine": "status_line",
    "WhyView": "why_view",
    "image_breakdown": "size_breakdown",
}


@short_traceback_on_interrupt()
def __getattr__(name: str) -> Any:
    """Import a widget on first use: the command line uses none."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
