"""Layers stacked on one another: the tree that a container of the image sees, and the waste of lower layers.

Every layer is applied to one tree of folders, so a file that is removed or hidden is visited once: the time
is linear in the number of entries, whatever the number of whiteouts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stagelens.snapshot.saved_image import LayerFiles
from stagelens.snapshot.table import Entry, FileTable


class _Node:
    """A file of the stacked tree: its entry, its bytes in the tar, and the children of a folder."""

    __slots__ = ("children", "entry", "stored")

    def __init__(self, entry: Entry, stored: int = 0) -> None:
        self.entry = entry
        self.stored = stored
        self.children: dict[str, _Node] | None = {} if entry.kind == "dir" else None


class LayerStack:
    """A tree that layers are applied to, lowest first."""

    def __init__(self) -> None:
        self._root = _Node(Entry("", "dir", 0o755))

    def apply(self, layer: LayerFiles) -> dict[str, int]:
        """Put a layer on top.

        Returns
        -------
        dict
            For each whiteout the stored bytes of the folder it removed, 0 for a file.
        """
        freed: dict[str, int] = {}
        for path in layer.whiteouts:
            node = self._remove(path)
            freed[path] = sum(n.stored for n in _walk(node)) if node and node.children is not None else 0
        for path in layer.opaque:
            folder = self._find(path)
            if folder is not None and folder.children is not None:
                folder.children = {}
        links = set(layer.links)
        for entry in layer.table:
            self._put(entry, stored_bytes(entry, links))
        return freed

    def table(self) -> FileTable:
        """Return the tree as it is now."""
        return FileTable.from_entries(node.entry for node in _walk(self._root) if node is not self._root)

    def _find(self, path: str) -> _Node | None:
        node: _Node | None = self._root
        for part in path.split("/") if path else ():
            node = node.children.get(part) if node and node.children is not None else None
        return node

    def _remove(self, path: str) -> _Node | None:
        folder, _, name = path.rpartition("/")
        parent = self._find(folder)
        return parent.children.pop(name, None) if parent and parent.children is not None else None

    def _put(self, entry: Entry, stored: int) -> None:
        *folders, name = entry.path.split("/")
        siblings = self._root.children
        for depth, part in enumerate(folders, 1):
            assert siblings is not None
            node = siblings.get(part)
            if node is None or node.children is None:
                # The engine makes a folder that a tar leaves out, owned by root.
                node = siblings[part] = _Node(Entry("/".join(folders[:depth]), "dir", 0o755))
            siblings = node.children
        assert siblings is not None
        old, node = siblings.get(name), _Node(entry, stored)
        if old is not None and old.children is not None and node.children is not None:
            node.children = old.children
        siblings[name] = node


def _walk(top: _Node) -> Iterator[_Node]:
    """Yield a node and all nodes below it, without recursion: paths may be deeper than Python's stack."""
    waiting = [top]
    while waiting:
        node = waiting.pop()
        yield node
        if node.children:
            waiting.extend(node.children.values())


def stored_bytes(entry: Entry, links: set[str]) -> int:
    """Return the bytes of an entry in the tar of its layer: 0 for hard links, folders and special files."""
    return entry.size if entry.kind == "file" and entry.path not in links else 0


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The efficiency of layers, as dive defines it (wagoodman/dive, filetree/efficiency.go).

    Over all layers, each path that is a leaf of its layer counts with its stored bytes, and a whiteout with
    those of the folder that it removes.

    Attributes
    ----------
    score
        The sum of each path's smallest count, divided by the sum of all counts: 0 to 1.
    wasted
        The sum of all counts of the paths that are in more than one layer, in bytes.
    """

    score: float
    wasted: int


@dataclass(frozen=True, slots=True)
class WastedPath:
    """A path that is in more than one layer.

    Attributes
    ----------
    path
        The path.
    times
        How many layers have it.
    size
        The stored bytes of all its copies.
    """

    path: str
    times: int
    size: int


def compute_efficiency(layers: Sequence[LayerFiles]) -> Efficiency:
    """Return how much of the bytes of layers reaches the image."""
    counts = _counts(layers).values()
    total = sum(total for _, total, _ in counts)
    least = sum(least for _, _, least in counts)
    wasted = sum(total for times, total, _ in counts if times > 1)
    return Efficiency(least / total if total else 1.0, wasted)


def find_waste(layers: Sequence[LayerFiles]) -> tuple[WastedPath, ...]:
    """Return the paths that make up `Efficiency.wasted`, largest first."""
    found = [
        WastedPath(path, times, total) for path, (times, total, _) in _counts(layers).items() if times > 1
    ]
    return tuple(sorted(found, key=lambda each: (-each.size, each.path)))


def _counts(layers: Sequence[LayerFiles]) -> dict[str, tuple[int, int, int]]:
    """Return for each path that is a leaf how many layers have it, their bytes, and the fewest bytes."""
    stack = LayerStack()
    counts: dict[str, tuple[int, int, int]] = {}

    def count(path: str, size: int) -> None:
        times, total, least = counts.get(path, (0, 0, size))
        counts[path] = times + 1, total + size, min(least, size)

    for layer in layers:
        freed = stack.apply(layer)
        links = set(layer.links)
        inner = _folders((*(entry.path for entry in layer.table), *layer.whiteouts))
        for path in layer.whiteouts:
            count(path, freed[path])
        for entry in layer.table:
            if entry.path not in inner:
                count(entry.path, stored_bytes(entry, links))
    return counts


def _folders(paths: Iterable[str]) -> set[str]:
    """All folders that hold one of the paths."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found
