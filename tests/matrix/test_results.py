"""Results as a tar and as a folder are on every engine those that the docker CLI gets."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest
from stagelens_testing.cli import docker

import stagelens
from stagelens.buildkit import LocalFolder, TarFile
from stagelens.engine import Engine

pytestmark = pytest.mark.engine

TEXT = """\
FROM diamol/base AS work
RUN mkdir -p /r/d/empty && echo {unique} > /r/d/f && chmod 640 /r/d/f && ln -s d/f /r/link \\
    && head -c 3000000 /dev/urandom > /r/big && ln /r/big /r/d/same && mkfifo /r/pipe && chmod 1777 /r/d
FROM scratch
COPY --from=work /r /
"""
Row = tuple[str, int, bytes | str]


def in_folder(root: Path) -> dict[str, Row]:
    """Each path with its kind, permissions, and content or target."""
    found: dict[str, Row] = {}
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        content = path.readlink().as_posix() if path.is_symlink() else b""
        if stat.S_ISREG(mode):
            content = path.read_bytes()
        found[str(path.relative_to(root))] = (oct(stat.S_IFMT(mode)), stat.S_IMODE(mode), content)
    return found


def in_tar(path: Path) -> dict[str, Row]:
    with tarfile.open(path) as tar:
        found: dict[str, Row] = {}
        for member in tar:
            file = tar.extractfile(member) if member.isreg() or member.islnk() else None
            found[member.name.rstrip("/")] = (
                "" if file else str(member.type),
                member.mode,
                file.read() if file else member.linkname,
            )
    return found


def test_result_equals_that_of_the_docker_command(engine: Engine, tmp_path: Path, unique: str) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(TEXT.format(unique=unique))
    folder, archive = LocalFolder(tmp_path / "ours"), TarFile(tmp_path / "ours.tar")
    umask = os.umask(0o022)
    try:
        stagelens.build(context, engine=engine, output=folder)
        trace = stagelens.build(context, engine=engine, output=archive)
        for kind, target in (("local", "cli"), ("tar", "cli.tar")):
            out = f"type={kind},dest={tmp_path / target}"
            docker(engine, tmp_path / "config", "build", "-o", out, context)
    finally:
        os.umask(umask)
    assert trace.image_id is None
    assert all(vertex.cached for vertex in trace.vertices if vertex.instruction), "the same, from the cache"
    assert in_tar(archive.path) == in_tar(tmp_path / "cli.tar")
    ours, theirs = in_folder(folder.path), in_folder(tmp_path / "cli")
    assert ours["d/f"] == (oct(stat.S_IFREG), 0o640, f"{unique}\n".encode())
    assert ours["d/same"][2] == ours["big"][2]
    # A pipe is left out by us; Engine 20.10 copies none in the first place.
    assert folder.received.skipped == (theirs.pop("pipe", None) is not None)
    assert ours == theirs
