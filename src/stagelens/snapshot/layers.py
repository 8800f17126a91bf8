"""The layers of a finished image, as `docker save` has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from docker.errors import APIError, ImageNotFound
from requests.exceptions import RequestException

from stagelens import paths
from stagelens.buildkit import BuildKitError, Control
from stagelens.errors import StagelensError, short_traceback_on_interrupt
from stagelens.snapshot import layer_cache
from stagelens.snapshot.layer_stack import Efficiency, LayerStack, Waste, WastedPath, resolve_links
from stagelens.snapshot.saved_image import LayerError, LayerFiles, SavedImage, read_saved_image
from stagelens.snapshot.table import FileTable

if TYPE_CHECKING:
    from collections.abc import Generator

    import docker

    from stagelens.engine import Engine

__all__ = ["ImageLayers", "Layer", "LayerError", "read_layers", "unpacked_size"]

# What an engine reports if the content of a layer is gone from its store (containerd's errdefs).
_CONTENT_GONE = re.compile(r"\b(?:content|blob)\b.{0,200}\bnot found", re.IGNORECASE | re.DOTALL)
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
        return self._waste.paths()

    @cached_property
    def _efficiency(self) -> Efficiency:
        return self._waste.efficiency()

    @cached_property
    def _waste(self) -> Waste:
        return Waste(self.layers)


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
        If there is no such image, the archive cannot be read, or the engine no longer has all layers.
    """
    platform = ""
    try:
        info = cast("dict[str, Any]", api.inspect_image(image))
        image_id, diff_ids, platform = info["Id"], _diff_ids(info, image), _platform(info)
        kept = {d: layer_cache.load_layer(cache_dir, d) for d in diff_ids} if cache_dir else {}
        layers = {diff_id: layer for diff_id, layer in kept.items() if layer is not None}
        names = (
            _names_by_size(api.history(image_id), len(diff_ids)) if layers.keys() >= set(diff_ids) else None
        )
        if names is None:
            chunks = cast("Generator[bytes]", api.get_image(image_id))
            with closing(chunks):
                saved = read_saved_image(chunks, progress)
            names = _names_in_config(saved, diff_ids)
            new = {d: saved.layers[d] for d in diff_ids if d not in layers and d in saved.layers}
            if cache_dir:
                for layer in new.values():
                    layer_cache.store_layer(cache_dir, layer)
            layers |= new
            if missing := [number for number, diff_id in enumerate(diff_ids) if diff_id not in layers]:
                if not any(names):  # the archive lacks the config, too
                    names = _names_by_size(api.history(image_id), len(diff_ids)) or names
                lost = _lost_content(api, saved, missing, len(diff_ids))
                rows = [
                    f"layer {n} ({diff_ids[n]}{names[n] and f', {names[n][:80]}'})" for n in lost or missing
                ]
                raise _missing_layers(image, rows, len(diff_ids), bool(lost), saved.error, platform)
    except ImageNotFound as error:
        raise _no_image(image) from error
    except StagelensError:
        raise  # an engine that is gone says so itself
    except (APIError, RequestException) as error:
        raise _not_saved(image, str(error), platform) from error
    resolved = resolve_links(layers[diff_id] for diff_id in diff_ids)
    return ImageLayers(image_id, tuple(map(_layer, range(len(diff_ids)), names, resolved)))


def unpacked_size(engine: Engine, image: str, cache_dir: Path | None = None) -> int:
    """Return the unpacked size of an image: the bytes of the files in all its layers.

    It means the same on every engine. The size that an engine itself reports does not: with the containerd
    image store it is the compressed size, or the compressed and the unpacked size together.

    Parameters
    ----------
    engine
        The engine that has the image.
    image
        A name or id of the image.
    cache_dir
        A folder with layers that were read before, by default a folder in the user's cache.

    Returns
    -------
    int
        The size in bytes.

    Raises
    ------
    LayerError
        If there is no such image, or its layers cannot be read.
    """
    if not engine.info.containerd_store and not engine.info.podman:
        try:
            return int(cast("dict[str, Any]", engine.api.inspect_image(image))["Size"])
        except ImageNotFound as error:
            raise _no_image(image) from error
    whole = read_layers(engine.api, image, cache_dir or paths.cache_dir() / "layers")
    return sum(layer.size for layer in whole.layers)


def _no_image(image: str) -> LayerError:
    return LayerError(f"The engine has no image {image!a}.", remedy="docker image ls")


def _layer(index: int, created_by: str, files: LayerFiles) -> Layer:
    return Layer(
        files.diff_id,
        files.size,
        files.table,
        files.whiteouts,
        files.opaque,
        files.links,
        files.lower_links,
        index=index,
        created_by=created_by,
    )


def _diff_ids(info: dict[str, Any], image: str) -> list[str]:
    diff_ids: list[str] = (info.get("RootFS") or {}).get("Layers") or []
    if not all(_DIFF_ID.fullmatch(diff_id) for diff_id in diff_ids):
        raise LayerError("The engine names a layer that is no sha256 digest.", where=image)
    return diff_ids


def _platform(info: dict[str, Any]) -> str:
    return "/".join(str(info[part]) for part in ("Os", "Architecture", "Variant") if info.get(part))


def _not_saved(image: str, why: str, platform: str) -> LayerError:
    return LayerError(
        "The engine did not hand over the image.", where=image, why=why, remedy=_remedy(why, platform)
    )


def _lost_content(
    api: docker.APIClient, saved: SavedImage, missing: Sequence[int], count: int
) -> list[int] | None:
    """Return which of the missing layers the engine no longer has; None if it does not tell.

    Without the content of one layer, an engine may leave out all layers when it saves the image.
    """
    blobs = next((blobs for blobs in saved.blobs if len(blobs) == count), None)
    if blobs is None:
        return None
    try:
        with Control(api) as control:
            return [number for number in missing if not control.has_content(blobs[number])]
    except BuildKitError:
        return None


def _missing_layers(
    image: str, rows: Sequence[str], count: int, lost: bool, error: str, platform: str
) -> LayerError:
    what = f"{len(rows)} of {count} layers"
    why = error or (
        "content not found: a prune, a partial pull or the removal of another image took the blobs away"
        if lost
        else "`docker image save` left them out: content of some of them was not found, or is damaged"
    )
    return LayerError(
        f"The engine no longer has the content of {what}." if lost else f"The engine did not save {what}.",
        where=f"{image}: {'; '.join(rows)}",
        why=why,
        remedy=_remedy(why, platform),
    )


def _remedy(why: str, platform: str) -> str:
    """Return how lost content comes back; a cached build gives the same image with the same hole."""
    if not _CONTENT_GONE.search(why):
        return "stagelens doctor"
    option = f" --platform {platform}" if platform else ""
    return (
        f"docker pull{option} BASE for the image that the missing layers come from (docker load if it came "
        "from a file); layers that the Dockerfile adds need docker build --no-cache after that"
    )


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
