"""The final image's layers."""

from __future__ import annotations

from typing import Any

from stagelens.snapshot.layers import ImageLayers
from stagelens.views import markup


class LayersView:
    """A row for each layer: what made it, its size and number of files, its diff_id."""

    def __init__(self, image: ImageLayers) -> None:
        self._image = image

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def _repr_html_(self) -> str:
        rows = [
            (
                str(layer.index),
                markup.size(layer.size),
                str(len(layer.table)),
                f"<code>{markup.html_text(layer.created_by, 100)}</code>",
                f"<code>{markup.html_text(layer.diff_id[:19])}</code>",
            )
            for layer in self._image.layers
        ]
        return markup.frame(markup.table(("layer", "size", "files", "made by", "diff_id"), rows))

    def __str__(self) -> str:
        return "\n".join(
            f"{layer.index} {markup.size(layer.size)} {layer.created_by[:80]}" for layer in self._image.layers
        )
