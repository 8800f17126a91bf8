"""Layers stacked on one another: the tree that a container of the image sees, and the waste of lower layers.

Every layer is applied to one tree of folders, so a file that is removed or hidden is visited once: the time
is linear in the number of entries, whatever the number of whiteouts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from stagelens.snapshot.saved_image import LayerFiles
from stagelens.snapshot.table import Entry, FileTable, key_path, path_key


class _Node:
    """A file of the stacked tree: a row of a table, its bytes in the tar, and the children of a folder."""

    __slots__ = ("children", "row", "stored", "table")

    def __init__(self, table: FileTable, row: int, stored: int = 0) -> None:
        self.table = table
        self.row = row
        self.stored = stored
        self.children: dict[bytes, _Node] | None = {} if table.kind(row) == "dir" else None


class LayerStack:
    """A tree that layers are applied to, lowest first."""

    def __init__(self) -> None:
        self._root = _folder(b"root")

    def apply(self, layer: LayerFiles) -> dict[bytes, int]:
        """Put a layer on top.

        Returns
        -------
        dict
            For the key of each whiteout the stored bytes of the folder it removed, 0 for a file.
        """
        freed: dict[bytes, int] = {}
        for key in map(path_key, layer.whiteouts):
            node = self._remove(key)
            freed[key] = sum(n.stored for n in _walk(node)) if node and node.children is not None else 0
        for path in layer.opaque:
            folder = self._find(path_key(path))
            if folder is not None and folder.children is not None:
                folder.children = {}
        self._put(layer.table, layer.stored_bytes())
        return freed

    def table(self) -> FileTable:
        """Return the tree as it is now."""
        nodes = ((node.table, node.row) for node in _walk(self._root) if node is not self._root)
        return FileTable.from_rows(nodes)

    def find(self, path: str) -> Entry | None:
        """Return the entry at a path, or None."""
        node = self._find(path_key(path))
        return node.table.entry(node.row) if node is not None else None

    def _find(self, key: bytes) -> _Node | None:
        node: _Node | None = self._root
        for part in key.split(b"\0") if key else ():
            node = node.children.get(part) if node and node.children is not None else None
        return node

    def _remove(self, key: bytes) -> _Node | None:
        folder, _, name = key.rpartition(b"\0")
        parent = self._find(folder)
        return parent.children.pop(name, None) if parent and parent.children is not None else None

    def _put(self, table: FileTable, stored: Sequence[int]) -> None:
        parent: bytes | None = None
        siblings: dict[bytes, _Node] = {}
        for row, size in enumerate(stored):
            folder, _, name = table.key(row).rpartition(b"\0")
            if folder != parent:  # rows are sorted: most have the folder of the one before
                parent, siblings = folder, self._children(folder)
            old, node = siblings.get(name), _Node(table, row, size)
            if old is not None and old.children is not None and node.children is not None:
                node.children = old.children
            siblings[name] = node

    def _children(self, folder: bytes) -> dict[bytes, _Node]:
        """Return what a folder holds. The engine makes a folder that a tar leaves out, owned by root."""
        siblings = self._root.children
        parts = folder.split(b"\0") if folder else []
        for depth, part in enumerate(parts, 1):
            assert siblings is not None
            node = siblings.get(part)
            if node is None or node.children is None:
                node = siblings[part] = _folder(b"\0".join(parts[:depth]))
            siblings = node.children
        assert siblings is not None
        return siblings


def _folder(key: bytes) -> _Node:
    return _Node(FileTable.from_entries([Entry(key_path(key), "dir", 0o755)]), 0)


def _walk(top: _Node) -> Iterator[_Node]:
    """Yield a node and all nodes below it, without recursion: paths may be deeper than Python's stack."""
    waiting = [top]
    while waiting:
        node = waiting.pop()
        yield node
        if node.children:
            waiting.extend(node.children.values())


def resolve_links(layers: Iterable[LayerFiles]) -> list[LayerFiles]:
    """Return layers whose hard links to files of layers below have the facts of these files."""
    layers = list(layers)
    if not any(layer.lower_links for layer in layers):
        return layers
    stack = LayerStack()
    for index, layer in enumerate(layers):
        targets = {path: stack.find(target) for path, target in layer.lower_links.items()}
        found = [replace(target, path=path) for path, target in targets.items() if target is not None]
        if found:
            layers[index] = layer = replace(layer, table=FileTable.from_entries([*layer.table, *found]))
        stack.apply(layer)
    return layers


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


class Waste:
    """What layers store more than once.

    Parameters
    ----------
    layers
        The layers, lowest first.
    """

    def __init__(self, layers: Sequence[LayerFiles]) -> None:
        self._counts = _counts(layers)

    def efficiency(self) -> Efficiency:
        """Return how much of the bytes of the layers reaches the image."""
        total = sum(count.total for count in self._counts.values())
        least = sum(count.least for count in self._counts.values())
        wasted = sum(count.total for count in self._counts.values() if count.times > 1)
        return Efficiency(least / total if total else 1.0, wasted)

    def paths(self) -> tuple[WastedPath, ...]:
        """Return the paths that make up `Efficiency.wasted`, largest first."""
        found = [WastedPath(key_path(k), c.times, c.total) for k, c in self._counts.items() if c.times > 1]
        return tuple(sorted(found, key=lambda each: (-each.size, each.path)))


class _Count(NamedTuple):
    """How many layers have a path, and the bytes of all its copies and of the smallest one."""

    times: int
    total: int
    least: int


def _counts(layers: Sequence[LayerFiles]) -> dict[bytes, _Count]:
    """Return the count of each path that is a leaf of its layer, by its key."""
    stack = LayerStack()
    counts: dict[bytes, _Count] = {}

    def count(key: bytes, size: int) -> None:
        old = counts.get(key)
        counts[key] = (
            _Count(old.times + 1, old.total + size, min(old.least, size)) if old else _Count(1, size, size)
        )

    for layer in layers:
        freed = stack.apply(layer)
        inner = _folders(freed)
        for key, size in freed.items():
            count(key, size)
        table, stored = layer.table, layer.stored_bytes()
        key = table.key(0) if stored else b""
        for row, size in enumerate(stored, 1):
            below = table.key(row) if row < len(stored) else b""
            if not below.startswith(key + b"\0") and key not in inner:
                count(key, size)
            key = below
    return counts


def _folders(keys: Iterable[bytes]) -> set[bytes]:
    """All folders that hold one of the keys."""
    found: set[bytes] = set()
    for key in keys:
        folder = key.rpartition(b"\0")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition(b"\0")[0]
    return found
