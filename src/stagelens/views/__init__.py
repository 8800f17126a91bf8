"""Pictures of builds and snapshots: widgets with a static HTML twin and a plain-text form."""

from stagelens.views.build import BuildView
from stagelens.views.layers import LayersView
from stagelens.views.stages import StageView

__all__ = ["BuildView", "LayersView", "StageView"]
