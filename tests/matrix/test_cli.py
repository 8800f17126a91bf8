"""The same context built by us and by the docker CLI: the same layers, the same files."""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from stagelens_testing.cli import docker

import stagelens
from stagelens.engine import Engine
from stagelens.snapshot.layers import ImageLayers, read_layers
from stagelens.snapshot.table import Entry

pytestmark = pytest.mark.engine


def odd_context(folder: Path) -> Path:
    """What people have in their folders, and what nobody should."""
    for name in (
        "plain",
        "with space",
        "ünïcode 한국",
        "new\nline",
        "-dash",
        "x" * 200,
        "#hash",
        "back\\slash",
    ):
        (folder / name).write_text(name)
    deep = folder / "/".join(["deep" * 10] * 5)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(bytes(range(256)) * 300)
    (folder / "empty folder").mkdir()
    (folder / "a").mkdir()
    (folder / "a-b").write_text("sorts between a and a/b in some orders")
    (folder / "a/b").write_text("b")
    for name, target in (
        ("to-file", "plain"),
        ("dangling", "nowhere"),
        ("out", "/etc/passwd"),
        ("up", "../.."),
    ):
        (folder / name).symlink_to(target)
    os.link(folder / "plain", folder / "a/hard link")
    (folder / "script").write_text("#!/bin/sh\n")
    for name, mode in (("script", 0o755), ("with space", 0o4711), ("-dash", 0), ("a", 0o1777)):
        (folder / name).chmod(mode)
    os.chown(folder / "plain", 1234, 5678)
    with (folder / "sparse").open("wb") as file:
        file.seek(5_000_000)
        file.write(b"end")
    os.utime(folder / "script", ns=(0, 1_234_567_890_123_456_789))
    os.utime(folder / "a-b", (-86_400, -86_400))
    os.mkfifo(folder / "pipe")
    with tarfile.open(folder / "packed.tar.gz", "w:gz") as archive:
        top = tarfile.TarInfo("unpacked")
        top.type, top.mtime, top.mode = tarfile.DIRTYPE, 1_100_000_000, 0o750
        archive.addfile(top)
        member = tarfile.TarInfo("unpacked/file")
        member.size, member.mtime, member.mode = 4, 1_000_000_000, 0o640
        archive.addfile(member, io.BytesIO(b"data"))
    (folder / "kept").mkdir()
    for name in ("kept/one.log", "kept/two.log", "three.log"):
        (folder / name).write_text(name)
    (folder / ".dockerignore").write_text("**/*.log\n!kept/two.log\nDockerfile*\n")
    return folder


def both(engine: Engine, tmp_path: Path, dockerfile: str, unique: str) -> tuple[ImageLayers, ImageLayers]:
    """The image that we build and the one that the CLI builds, neither from the cache."""
    context = tmp_path / "context"
    (context / "Dockerfile").write_text(dockerfile)
    stagelens.build(context, engine=engine, tags=[f"{unique}:ours"], no_cache=True)
    docker(engine, tmp_path / "cli", "build", "--no-cache", "-t", f"{unique}:cli", context)
    return read_layers(engine.api, f"{unique}:ours"), read_layers(engine.api, f"{unique}:cli")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    return odd_context(folder)


def test_copied_files_make_the_same_layers(
    engine: Engine, context: Path, tmp_path: Path, unique: str, clean: object
) -> None:
    names = json.dumps(["plain", "with space", "-dash", "sparse", "script", "a-b", "/"])
    dockerfile = f"FROM scratch\nADD packed.tar.gz /\nCOPY {names}\nCOPY . /\n"
    ours, theirs = both(engine, tmp_path, dockerfile, unique)
    same = [mine.diff_id == cli.diff_id for mine, cli in zip(ours.layers, theirs.layers, strict=True)]
    if engine.info.version.startswith("20."):
        # Its COPY gives a folder its time before it fills it, so that each build has its own there.
        assert same[:2] == [True, True]
        assert files(ours, filled=True) == files(theirs, filled=True)
    else:
        assert same == [True, True, True]
    paths = {entry.path for entry in ours.files_at(2)}
    assert {"unpacked/file", "new\nline", "kept/two.log"} <= paths
    assert not {"three.log", "kept/one.log", "Dockerfile"} & paths


def test_multi_stage_build_has_the_same_files(
    engine: Engine, context: Path, tmp_path: Path, unique: str, clean: object
) -> None:
    dockerfile = (
        "FROM diamol/base AS work\nWORKDIR /w\nCOPY --chown=7:8 . .\nADD a b/\n"
        "FROM diamol/base\nWORKDIR /made/here\nCOPY --from=work /w/ ./\n"
    )
    ours, theirs = (files(image) for image in both(engine, tmp_path, dockerfile, unique))
    assert ours == theirs
    assert ours["made/here/with space"].mode == 0o4711
    assert (ours["made/here/plain"].uid, ours["made/here/plain"].gid) == (7, 8)


def files(image: ImageLayers, filled: bool = False) -> dict[str, Entry]:
    """All files by path, without the times of folders, which may be the build's: all, or `filled` ones."""
    table = image.files_at(len(image.layers) - 1)
    above = {str(Path(e.path).parent) for e in table}
    return {
        e.path: replace(e, mtime=0) if e.kind == "dir" and (e.path in above or not filled) else e
        for e in table
    }
