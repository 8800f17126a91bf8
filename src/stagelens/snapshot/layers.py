"""The layers of a finished image, as `docker save` has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from docker.errors import APIError, ImageNotFound
from requests.exceptions import RequestException

from stagelens.errors import StagelensError, short_traceback_on_interrupt
from stagelens.snapshot import layer_cache
from stagelens.snapshot.layer_stack import Efficiency, LayerStack, WastedPath, compute_efficiency, find_waste
from stagelens.snapshot.saved_image import LayerError, LayerFiles, SavedImage, read_saved_image
from stagelens.snapshot.table import FileTable

if TYPE_CHECKING:
    from collections.abc import Generator

    import docker

__all__ = ["ImageLayers", "Layer", "LayerError", "read_layers"]

_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}")
# History rows of these instructions never have a layer. Classic builds write `/bin/sh -c #(nop)  CMD …`.
_NO_LAYER = re.compile(
    r"(?:.{0,200}#\(nop\)\s+)?"
    r"(?:ARG|CMD|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|SHELL|STOPSIGNAL|USER|VOLUME)\b"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer(LayerFiles):
    """One layer of an image.

    Attributes
    ----------
    index
        The number of the layer; 0 is the lowest.
    created_by
        What made the layer, from the history of the image.
    """

    index: int
    created_by: str


@dataclass(frozen=True)
class ImageLayers:
    """The layers of an image.

    Attributes
    ----------
    image_id
        The id of the image.
    layers
        The layers, lowest first.
    """

    image_id: str
    layers: tuple[Layer, ...]

    def files_at(self, index: int) -> FileTable:
        """Return the files that layers 0 to `index` show together, in time linear in their entries.

        Raises
        ------
        IndexError
            If there is no such layer.
        """
        if not 0 <= index < len(self.layers):
            raise IndexError(f"layer {index} of {len(self.layers)}")
        stack = LayerStack()
        for layer in self.layers[: index + 1]:
            stack.apply(layer)
        return stack.table()

    @property
    def wasted(self) -> int:
        """The bytes of paths that are in more than one layer (see `layer_stack.Efficiency`)."""
        return self._efficiency.wasted

    @property
    def efficiency(self) -> float:
        """The score, 0 to 1; 1 if no layer repeats or removes a file of another (see `Efficiency`)."""
        return self._efficiency.score

    @cached_property
    def waste(self) -> tuple[WastedPath, ...]:
        """The paths that make up `wasted`, largest first."""
        return find_waste(self.layers)

    @cached_property
    def _efficiency(self) -> Efficiency:
        return compute_efficiency(self.layers)


@short_traceback_on_interrupt()
def read_layers(
    api: docker.APIClient,
    image: str,
    cache_dir: Path | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> ImageLayers:
    """Index the layers of an image on the engine.

    Parameters
    ----------
    api
        A docker client.
    image
        A name or id of the image.
    cache_dir
        A folder with layers that were read before; if it has all layers, the image is not saved at all.
    progress
        A function that is called with the length of each chunk that arrives, in bytes.

    Returns
    -------
    ImageLayers
        The layers, lowest first.

    Raises
    ------
    LayerError
        If there is no such image, the archive cannot be read, or a layer is not what the image names.
    """
    try:
        info = cast("dict[str, Any]", api.inspect_image(image))
        image_id, diff_ids = info["Id"], _diff_ids(info, image)
        kept = {d: layer_cache.load_layer(cache_dir, d) for d in diff_ids} if cache_dir else {}
        layers = {diff_id: layer for diff_id, layer in kept.items() if layer is not None}
        names = (
            _names_by_size(api.history(image_id), len(diff_ids)) if layers.keys() >= set(diff_ids) else None
        )
        if names is None:
            chunks = cast("Generator[bytes]", api.get_image(image_id))
            with closing(chunks):
                saved = read_saved_image(chunks, progress)
            layers |= _wanted(saved, diff_ids, image, skip=layers.keys(), cache_dir=cache_dir)
            names = _names_in_config(saved, diff_ids)
    except ImageNotFound as error:
        raise LayerError(f"The engine has no image {image!a}.", remedy="docker image ls") from error
    except StagelensError:
        raise  # an engine that is gone says so itself
    except (APIError, RequestException) as error:
        raise LayerError(
            "The engine did not hand over the image.", where=image, why=str(error), remedy="stagelens doctor"
        ) from error
    return ImageLayers(
        image_id,
        tuple(
            _layer(index, name, layers[diff_id])
            for index, (diff_id, name) in enumerate(zip(diff_ids, names, strict=True))
        ),
    )


def _layer(index: int, created_by: str, files: LayerFiles) -> Layer:
    return Layer(
        files.diff_id,
        files.size,
        files.table,
        files.whiteouts,
        files.opaque,
        files.links,
        index=index,
        created_by=created_by,
    )


def _diff_ids(info: dict[str, Any], image: str) -> list[str]:
    diff_ids: list[str] = (info.get("RootFS") or {}).get("Layers") or []
    if not all(_DIFF_ID.fullmatch(diff_id) for diff_id in diff_ids):
        raise LayerError("The engine names a layer that is no sha256 digest.", where=image)
    return diff_ids


def _wanted(
    saved: SavedImage, diff_ids: list[str], image: str, skip: Iterable[str], cache_dir: Path | None
) -> dict[str, LayerFiles]:
    """Return the layers of the image that were not stored yet, and store them."""
    found: dict[str, LayerFiles] = {}
    for diff_id in set(diff_ids) - set(skip):
        layer = saved.layers.get(diff_id)
        if layer is None:
            raise LayerError(
                "A layer of the image is missing in what the engine saved, or damaged.",
                where=f"{image}, layer {diff_ids.index(diff_id)} ({diff_id})",
                why="no layer of the archive has this sha256",
                remedy="docker image rm the image, then build it again",
            )
        found[diff_id] = layer
        if cache_dir is not None:
            layer_cache.store_layer(cache_dir, layer)
    return found


def _names_in_config(saved: SavedImage, diff_ids: list[str]) -> list[str]:
    """Return what made each layer, from the config that lists these layers; "" if it is unknown."""
    for config in saved.configs:
        rootfs, history = config["rootfs"], config.get("history")
        if isinstance(rootfs, dict) and rootfs.get("diff_ids") == diff_ids and isinstance(history, list):
            rows = [row for row in history if isinstance(row, dict) and not row.get("empty_layer")]
            if len(rows) == len(diff_ids):
                return [str(row.get("created_by") or "") for row in rows]
    return [""] * len(diff_ids)


def _names_by_size(history: list[dict[str, Any]], count: int) -> list[str] | None:
    """Return what made each layer, from the engine's history (newest first).

    None if that is not clear: the history does not mark rows without a layer, and a row without bytes may
    have an empty one.
    """
    rows = [(row.get("CreatedBy") or "", row.get("Size") or 0) for row in reversed(history)]
    sized = [name for name, size in rows if size > 0]
    possible = [name for name, size in rows if size > 0 or not _NO_LAYER.match(name)]
    return next((names for names in (possible, sized) if len(names) == count), None)
