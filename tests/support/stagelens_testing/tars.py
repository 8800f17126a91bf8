"""Tars of image layers, made by hand."""

from __future__ import annotations

import hashlib
import io
import tarfile

from stagelens.snapshot.saved_image import LayerFiles, index_layer


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", link: str = "") -> tuple:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mtime = kind, len(content), link, 7
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info, content


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as made:
        for info, content in members:
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def index(data: bytes) -> LayerFiles:
    return index_layer(io.BytesIO(data).read)


def diff_id(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


FOLDER = tarfile.DIRTYPE
FIRST = tar(member("etc/", FOLDER), member("etc/hosts", content=b"localhost"))
SECOND = tar(member("etc/", FOLDER), member("etc/.wh.hosts"), member("motd", content=b"x" * 3000))
