"""Widgets for builds and snapshots, each with a static fallback in HTML and plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelens.errors import short_traceback_on_interrupt
from stagelens.lazy_imports import lazy_face
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
    "build_view": ("BuildView",),
    "dockerfile_editor": ("DockerfileEditor",),
    "layer_explorer": ("LayerExplorer",),
    "predict_cache": ("PredictCache",),
    "size_breakdown": ("image_breakdown",),
    "size_compare": ("SizeCompare",),
    "stage_explorer": ("StageExplorer",),
    "status_line": ("StatusLine",),
    "why_view": ("WhyView",),
}
_get, __dir__ = lazy_face(__name__, _MODULES)
# The command line uses no widget, and importing one takes long enough for a Ctrl-C.
__getattr__ = short_traceback_on_interrupt()(_get)
