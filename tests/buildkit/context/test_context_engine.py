"""The docker CLI and this package send the same paths of a context to the engine."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stagelens.buildkit.context import load_ignore, tar_stream, walk
from stagelens.engine import Engine

Plant = Callable[[Path, Iterable[str]], None]
pytestmark = pytest.mark.engine

_BUILD = "FROM scratch\nCOPY . /\n"
_NAMES = st.sampled_from(["a", "b", "ab", ".git", "a.b", "é", "a-b", "[x]", "x y"])
_PARTS = st.sampled_from(["a", "b", "ab", "*", "**", "?", "a*", "*b", "[ab]", "é", ".", "x y"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)
_PATTERNS = st.lists(
    st.tuples(
        st.sampled_from(["", "", "!", "/"]), st.lists(_PARTS, min_size=1, max_size=3).map("/".join)
    ).map("".join),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def docker_cli() -> str:
    """A docker CLI that builds with BuildKit: version 20 to 22, or a newer one with buildx."""
    for name in filter(None, ("/usr/bin/docker", shutil.which("docker"))):
        if Path(name).exists():
            answer = subprocess.run(
                [name, "build", "--help"], capture_output=True, text=True, env=_environment(None), check=False
            )
            if "--output" in answer.stdout:
                return name
    pytest.skip("no docker CLI with BuildKit here")


def _environment(engine: Engine | None) -> dict[str, str]:
    host = {"DOCKER_HOST": engine.address} if engine is not None else {}
    return os.environ | {"DOCKER_BUILDKIT": "1"} | host


def _built_by_cli(cli: str, engine: Engine, context: Path) -> dict[str, tarfile.TarInfo]:
    command = [cli, "build", "--quiet", "--output", "type=tar,dest=-", str(context)]
    done = subprocess.run(command, capture_output=True, env=_environment(engine), check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return {member.name.strip("/"): member for member in archive}


def _made(root: Path, paths: list[str]) -> None:
    for path in paths:
        place = root / path
        if not place.exists() and all(not p.is_file() for p in place.parents if p != root):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(path)


@given(paths=st.lists(_PATHS, min_size=1, max_size=12), patterns=_PATTERNS)
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_dockerignore_leaves_the_files_that_the_cli_leaves(
    engine: Engine, docker_cli: str, paths: list[str], patterns: list[str]
) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        _made(root, paths)
        (root / "Dockerfile").write_text(_BUILD)
        (root / ".dockerignore").write_text("\n".join(patterns))
        ours = {os.fsdecode(e.path) for e in walk(root, exclude=load_ignore(root)) if not e.mode >> 31}
        built = _built_by_cli(docker_cli, engine, root)
    # Folders that are left out, and might hold an exception, are sent empty by older CLIs only.
    assert ours == {name for name, member in built.items() if not member.isdir()}


def test_kinds_modes_and_links_arrive_like_from_the_cli(
    engine: Engine, docker_cli: str, tmp_path: Path, plant: Plant
) -> None:
    plant(tmp_path, ["a", "b = a", "d/e/", "l -> a", "out -> /etc/passwd", "loop -> .", "d/" + "x" * 255])
    (tmp_path / "a").chmod(0o4751)
    (tmp_path / "Dockerfile").write_text(_BUILD)
    built = _built_by_cli(docker_cli, engine, tmp_path)
    ours = {os.fsdecode(entry.path): entry for entry in walk(tmp_path)}
    assert set(ours) == set(built)
    for name, member in built.items():
        entry = ours[name]
        assert entry.mode & 0o777 == member.mode & 0o777
        assert bool(entry.mode >> 23 & 1) == bool(member.mode & 0o4000)
        assert (entry.uid, entry.gid) == (member.uid, member.gid) == (0, 0)
        assert bool(entry.mode >> 31) == member.isdir()
        assert bool(entry.mode >> 27 & 1) == member.issym()
        assert os.fsdecode(entry.linkname) == member.linkname


def _upload(engine: Engine, version: str, body: Iterator[bytes], tag: str, labels: dict[str, str]) -> None:
    api: Any = engine.api
    response = api.post(
        api._url("/build"),
        params={"version": version, "dockerfile": "Dockerfile", "t": tag, "labels": json.dumps(labels)},
        data=body,
        headers={"Content-Type": "application/x-tar"},
        stream=True,
    )
    lines = [json.loads(line) for line in response.iter_lines() if line.strip()]
    assert response.status_code == 200, lines
    assert [line["error"] for line in lines if "error" in line] == []


def _files_of(engine: Engine, tag: str) -> dict[str, tarfile.TarInfo]:
    data = io.BytesIO(b"".join(engine.api.get_image(tag)))
    with tarfile.open(fileobj=data) as image:
        manifest = json.load(image.extractfile("manifest.json") or io.BytesIO(b"[]"))
        members: dict[str, tarfile.TarInfo] = {}
        for layer in manifest[0]["Layers"]:
            with tarfile.open(fileobj=image.extractfile(layer), errors="surrogateescape") as archive:
                members |= {member.name.strip("/"): member for member in archive}
    return members


@pytest.mark.parametrize("version", ["1", "2"], ids=["classic", "buildkit"])
def test_an_upload_without_a_session_arrives_whole(
    engine: Engine, tmp_path: Path, plant: Plant, unique: str, clean: Any, version: str
) -> None:
    # "A…" sorts first: without the Dockerfile before it, BuildKit takes the upload for no archive.
    plant(tmp_path, ["A" * 200, "b/" + "n" * 255, "c = A" + "A" * 199, "l -> b", "d/e/", "left/out", "é"])
    (tmp_path / os.fsdecode(b"\xff\xfe")).write_text("bytes")
    tag = f"{unique}:upload"
    body = tar_stream(tmp_path, exclude=["left"], extra=[("Dockerfile", _BUILD.encode())])
    _upload(engine, version, body, tag, clean.labels)
    expected = {os.fsdecode(entry.path) for entry in walk(tmp_path, exclude=["left"])} | {"Dockerfile"}
    found = _files_of(engine, tag)
    assert set(found) == expected
    assert found["l"].linkname == "b"
    assert found["c"].islnk() or found["A" * 200].islnk()
