"""An image's layers: what made each, what is in it, what is stored twice, and which other images share it."""

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
_TREES = 2
_WASTED = 50
_NOTHING = FileTable.from_entries(())


class LayerExplorer(View):
    """Choose a layer; see its files, or all files up to it, and what whiteouts remove.

    Efficiency and wasted bytes are defined as dive defines them (see `stagelens.snapshot.layer_stack`).

    Traits
    ------
    name: the image's name.
    layers: rows with instruction, bytes, counts, digest and the images that share it (read only).
    summary: total bytes, efficiency from 0 to 1, wasted bytes (read only).
    wasted: the largest paths that are in more than one layer: [path, times, bytes] (read only).
    layer: the index of the chosen one; the lowest is 0.
    mode: "layer" for what it holds itself, "upto" for all files up to it.
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
        self, image: ImageLayers, *, shared: Mapping[str, ImageLayers] | None = None, **traits: Any
    ) -> None:
        """`shared`: other images by name; layers that they have, too, are marked."""
        self._image = image
        self._trees: OrderedDict[tuple[Any, ...], FileTree] = OrderedDict()
        self._lock = threading.Lock()
        owners = {
            layer.diff_id: [text.inline(n, 60) for n, other in (shared or {}).items() if _has(other, layer)]
            for layer in image.layers
        }
        own = [layer.index for layer in image.layers if not owners[layer.diff_id]]
        facts = {
            "layers": [_row(layer, owners[layer.diff_id]) for layer in image.layers],
            "summary": {
                "size": sum(layer.size for layer in image.layers),
                "efficiency": image.efficiency,
                "wasted": image.wasted,
                "paths": len(image.waste),
            },
            "wasted": [[text.file_name(w.path), w.times, w.size] for w in image.waste[:_WASTED] if w.size],
            "layer": own[0] if own else max(0, len(image.layers) - 1),
        }
        super().__init__(**facts | traits)

    def handlers(self) -> dict[str, Handler]:
        """Folders of a layer."""
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
                below = self._image.files_at(index - 1) if index else _NOTHING
                seen = compare_tables(below, self._image.files_at(index))
                found = seen if mode == "upto" else _stored(self._image.layers[index], seen)
                self._trees[key] = FileTree(found, "all" if mode == "upto" else "changes", needle)
            self._trees.move_to_end(key)
            while len(self._trees) > _TREES:
                self._trees.popitem(last=False)
            return self._trees[key]

    def _repr_html_(self) -> str:
        return self._render(TEMPLATES / "layer_explorer.html", summary=self._told())

    def _told(self) -> str:
        return self.say(
            "{layers}, {size}, efficiency {efficiency}, {wasted} wasted",
            layers=self.count("{n} layer", "{n} layers", len(self.layers)),
            size=format_size(self.summary["size"]),
            efficiency=f"{100 * self.summary['efficiency']:.1f} %",
            wasted=format_size(self.summary["wasted"]),
        )

    def __str__(self) -> str:
        rows = [f"{row['index']} {format_size(row['size'])} {row['text'][:80]}" for row in self.layers]
        return "\n".join([self._told(), *rows])


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


def _stored(layer: Layer, seen: TableComparison) -> TableComparison:
    """Return what a layer holds itself: its own rows, new or stored again, and those that it removes."""
    marks = bytes(_mark(entry, seen.before.get(entry.path)) for entry in layer.table)
    return TableComparison(seen.before, layer.table, marks, seen.gone)


def _mark(entry: Entry, below: Entry | None) -> int:
    """Return whether an entry only lists a folder above its files again, which is no change."""
    if below is None:
        return ADDED
    same = (entry.kind, entry.mode, entry.uid, entry.gid) == (below.kind, below.mode, below.uid, below.gid)
    return SAME if same and entry.kind == "dir" else CHANGED
