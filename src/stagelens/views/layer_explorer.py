"""A widget that shows an image's layers: instructions, files, wasted bytes, and images that share them."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal

import traitlets as t

from stagelens import text
from stagelens.errors import StagelensError
from stagelens.humanize import format_size
from stagelens.snapshot import Entry, FileTable, TableComparison, compare_tables
from stagelens.snapshot.changes import ADDED, CHANGED, SAME
from stagelens.snapshot.layers import ImageLayers, Layer
from stagelens.views.base import STATIC, Handler, View
from stagelens.views.file_tree import FileTree, Sort
from stagelens.views.templating import TEMPLATES

Mode = Literal["layer", "upto"]
_MAX_TREES = 2
_MAX_WASTED = 50
_EMPTY = FileTable.from_entries(())


class LayerExplorer(View):
    """A list of an image's layers, and the files of a selected layer or of all layers up to it.

    Efficiency and wasted bytes are defined as in dive (see `stagelens.snapshot.layer_stack`).

    Parameters
    ----------
    image
        The image's layers.
    name
        The image's name.
    shared
        Other images by name; layers that they contain, too, are marked.
    language
        The language, "en" or "ko"; by default the chosen one.

    Attributes
    ----------
    name
        The image's name.
    layers
        The instruction, bytes, counts, digest and sharing images of each layer (read only).
    summary
        All bytes, the efficiency from 0 to 1, and the wasted bytes (read only).
    wasted
        The largest paths in more than one layer: [path, times, bytes] (read only).
    layer
        The index of the selected layer; the lowest is 0.
    mode
        "layer" for the files of the layer itself, "upto" for all files up to it.
    """

    _esm = STATIC / "layer_explorer.js"
    _css = STATIC / "layer_explorer.css"

    name = t.Unicode().tag(sync=True)
    layers = t.List().tag(sync=True)
    summary = t.Dict().tag(sync=True)
    wasted = t.List().tag(sync=True)
    layer = t.Int().tag(sync=True)
    mode = t.Unicode("layer").tag(sync=True)

    def __init__(
        self,
        image: ImageLayers,
        *,
        name: str = "",
        shared: Mapping[str, ImageLayers] | None = None,
        language: str | None = None,
    ) -> None:
        self._image = image
        self._trees: OrderedDict[tuple[Any, ...], FileTree] = OrderedDict()
        self._lock = threading.Lock()
        owners = {
            layer.diff_id: [text.inline(n, 60) for n, other in (shared or {}).items() if _has(other, layer)]
            for layer in image.layers
        }
        unshared = [layer.index for layer in image.layers if not owners[layer.diff_id]]
        traits = {
            "name": name,
            "layers": [_row(layer, owners[layer.diff_id]) for layer in image.layers],
            "summary": {
                "size": sum(layer.size for layer in image.layers),
                "efficiency": image.efficiency,
                "wasted": image.wasted,
                "paths": len(image.waste),
            },
            "wasted": [
                [text.file_name(w.path), w.times, w.size] for w in image.waste[:_MAX_WASTED] if w.size
            ],
            "layer": unshared[0] if unshared else max(0, len(image.layers) - 1),
        }
        super().__init__(language=language, traits=traits)

    def handlers(self) -> dict[str, Handler]:
        """Return the handler that lists folders of a layer."""
        return {"list": self._list}

    def _list(
        self,
        layer: int,
        mode: Mode,
        paths: list[str] | None,
        needle: str = "",
        sort: Sort = "name",
        offset: int = 0,
    ) -> dict[str, Any]:
        tree = self._tree(layer, mode, needle)
        if paths is not None:
            return {
                "folders": {path: tree.folder(text.parse_file_name(path), sort, offset) for path in paths}
            }
        return {"folders": tree.opened(sort), "totals": tree.totals()}

    def _tree(self, index: int, mode: Mode, needle: str) -> FileTree:
        if not 0 <= index < len(self._image.layers):
            raise StagelensError("There is no such layer.", where=str(index))
        with self._lock:
            key = (index, mode, needle)
            if key not in self._trees:
                below = self._image.files_at(index - 1) if index else _EMPTY
                comparison = compare_tables(below, self._image.files_at(index))
                if mode == "upto":
                    self._trees[key] = FileTree(comparison, "all", needle)
                else:
                    changes = _layer_changes(self._image.layers[index], comparison)
                    self._trees[key] = FileTree(changes, "changes", needle)
            self._trees.move_to_end(key)
            while len(self._trees) > _MAX_TREES:
                self._trees.popitem(last=False)
            return self._trees[key]

    def _repr_html_(self) -> str:
        return self._render(TEMPLATES / "layer_explorer.html", summary=self._summary())

    def _summary(self) -> str:
        return self.translate(
            "{layers}, {size}, efficiency {efficiency}, {wasted} wasted",
            layers=self.translate_count("{n} layer", "{n} layers", len(self.layers)),
            size=format_size(self.summary["size"]),
            efficiency=f"{100 * self.summary['efficiency']:.1f} %",
            wasted=format_size(self.summary["wasted"]),
        )

    def __str__(self) -> str:
        rows = [f"{row['index']} {format_size(row['size'])} {row['text'][:80]}" for row in self.layers]
        return "\n".join([self._summary(), *rows])


def _has(image: ImageLayers, layer: Layer) -> bool:
    return any(other.diff_id == layer.diff_id for other in image.layers)


def _row(layer: Layer, shared: list[str]) -> dict[str, Any]:
    made_by = layer.created_by.removeprefix("/bin/sh -c #(nop)").removesuffix("# buildkit")
    made_by = re.sub(r"^(RUN )?(\|\d+ .*)?/bin/sh -c ", "RUN ", made_by)
    files, _ = layer.table.usage()
    return {
        "index": layer.index,
        "text": text.inline(" ".join(made_by.split()), 160),
        "size": layer.size,
        "files": files,
        "whiteouts": len(layer.whiteouts) + len(layer.opaque),
        "digest": layer.diff_id,
        "shared": shared,
    }


def _layer_changes(layer: Layer, comparison: TableComparison) -> TableComparison:
    """Return the changes of one layer: entries that it adds or stores again, and entries that it removes."""
    marks = bytes(_mark(entry, comparison.before.get(entry.path)) for entry in layer.table)
    return TableComparison(comparison.before, layer.table, marks, comparison.gone)


def _mark(entry: Entry, below: Entry | None) -> int:
    """Return the mark of an entry; a layer lists the folders above its files again, which is no change."""
    if below is None:
        return ADDED
    same = (entry.kind, entry.mode, entry.uid, entry.gid) == (below.kind, below.mode, below.uid, below.gid)
    return SAME if same and entry.kind == "dir" else CHANGED
