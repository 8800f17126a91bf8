"""The explorer under its first name, for lessons that are not switched over yet."""

from __future__ import annotations

from stagelens.views.explorer import StageExplorer


class StageView(StageExplorer):
    """A `StageExplorer`; `show()` is itself."""

    def show(self) -> StageView:
        """The widget."""
        return self
