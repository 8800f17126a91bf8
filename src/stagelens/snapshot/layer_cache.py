"""Indexed layers on disk by their diff_id: a layer never changes, so the engine sends it only once.

The folder stays below a total size: the least recently used layers are removed.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

from stagelens.file_cache import LruFileCache
from stagelens.snapshot.saved_image import LayerFiles
from stagelens.snapshot.table import FileTable

_MAGIC = b"stagelens-layer\x02"
_DIGEST_SIZE = 16
_LENGTH = struct.Struct("<Q")
MAX_BYTES = 256 << 20  # some three million files


def load_layer(folder: Path, diff_id: str) -> LayerFiles | None:
    """Return a stored layer, or None if it is missing, damaged or of another version."""
    data = _cache(folder).load(_name(diff_id))
    try:
        return _decode(data, diff_id) if data is not None else None
    except (ValueError, TypeError, KeyError, struct.error):
        return None


def store_layer(folder: Path, layer: LayerFiles) -> None:
    """Store a layer in a folder; a layer that cannot be written is left out."""
    _cache(folder).store(_name(layer.diff_id), [_encode(layer)])


def _cache(folder: Path) -> LruFileCache:
    return LruFileCache(folder, ".layer", MAX_BYTES)


def _name(diff_id: str) -> str:
    return diff_id.removeprefix("sha256:")


def _encode(layer: LayerFiles) -> bytes:
    facts = {
        "diff_id": layer.diff_id,
        "size": layer.size,
        "whiteouts": layer.whiteouts,
        "opaque": layer.opaque,
        "links": layer.links,
        "lower_links": dict(layer.lower_links),
    }
    head = json.dumps(facts).encode("ascii")
    digest = hashlib.blake2b(head, digest_size=_DIGEST_SIZE).digest()
    return b"".join((_MAGIC, digest, _LENGTH.pack(len(head)), head, layer.table.to_bytes()))


def _decode(data: bytes, diff_id: str) -> LayerFiles:
    start = len(_MAGIC) + _DIGEST_SIZE + _LENGTH.size
    (length,) = _LENGTH.unpack(data[start - _LENGTH.size : start])
    head = data[start : start + length]
    digest = hashlib.blake2b(head, digest_size=_DIGEST_SIZE).digest()
    if data[: start - _LENGTH.size] != _MAGIC + digest:
        raise ValueError("not a stored layer of this version, or damaged")
    facts = json.loads(head)
    if facts["diff_id"] != diff_id:
        raise ValueError("another layer's file")
    return LayerFiles(
        diff_id=diff_id,
        size=facts["size"],
        table=FileTable.from_bytes(data[start + length :]),
        whiteouts=tuple(facts["whiteouts"]),
        opaque=tuple(facts["opaque"]),
        links=tuple(facts["links"]),
        lower_links=dict(facts["lower_links"]),
    )
