"""Indexed layers on disk, by diff_id: a layer never changes, so it is read from the engine once.

The folder stays below a size: the layers used longest ago go first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import tempfile
from pathlib import Path

from stagelens.snapshot.archive import LayerFiles
from stagelens.snapshot.table import FileTable

_MAGIC = b"stagelens-layer\x01"
_DIGEST_SIZE = 16
_LENGTH = struct.Struct("<Q")
MAX_BYTES = 256 << 20  # some three million files


def load(folder: Path, diff_id: str) -> LayerFiles | None:
    """The kept layer, or None where there is none or its file is damaged or of another version."""
    file = folder / _name(diff_id)
    try:
        layer = _decode(file.read_bytes(), diff_id)
        os.utime(file)  # says when it was last used
        return layer
    except (OSError, ValueError, TypeError, KeyError, struct.error):
        return None


def store(folder: Path, layer: LayerFiles) -> None:
    """Keep a layer. The file appears whole or not at all; where it can't be written, nothing is kept."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".layer-", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_encode(layer))
            Path(name).replace(folder / _name(layer.diff_id))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _trim(folder, keep=_name(layer.diff_id))


def _trim(folder: Path, keep: str) -> None:
    """Remove the layers used longest ago until the rest fits in MAX_BYTES; never the one just kept."""
    files = [(file.stat(), file) for file in folder.glob("*.layer")]
    total = sum(facts.st_size for facts, _ in files)
    for facts, file in sorted(files, key=lambda row: row[0].st_mtime_ns):
        if total <= MAX_BYTES:
            return
        if file.name != keep:
            file.unlink(missing_ok=True)
            total -= facts.st_size


def _name(diff_id: str) -> str:
    return diff_id.removeprefix("sha256:") + ".layer"


def _encode(layer: LayerFiles) -> bytes:
    facts = {
        "diff_id": layer.diff_id,
        "size": layer.size,
        "whiteouts": layer.whiteouts,
        "opaque": layer.opaque,
        "links": layer.links,
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
        raise ValueError("not a kept layer of this version, or damaged")
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
    )
