"""Random trees, edited at random: what BuildKit received is what is on disk, less what is ignored.

The same few examples each time, fewer on further engines; STAGELENS_EXAMPLES=500 for as many new ones, made
small on a failure.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from stagelens_testing import engines

from stagelens.buildkit import BuildRequest, FileSend, FileSync, FolderSource, Session, shared_key, solve
from stagelens.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]
MORE = os.environ.get("STAGELENS_EXAMPLES")

# What the rules of IGNORE are about, and what makes names hard.
NAMES = st.one_of(
    st.sampled_from(["a", "a-b", "a.b", "b", "skip", "x.log", "keep.log", "d"]),
    st.sampled_from(["a b", "ünï 한", "new\nline", " ", "#", "!a", "*", "[a]", "\\"]),
    st.binary(min_size=1, max_size=12)
    .map(lambda name: os.fsdecode(name.translate(None, b"/\0")))
    .filter(lambda name: name not in ("", ".", "..", ".dockerignore", "always")),
)
CONTENTS = st.one_of(st.binary(max_size=40), st.integers(0, 100_000).map(bytes))
FILE_MODES = st.sampled_from([0o644, 0o755, 0o600, 0o000, 0o4755])
FOLDER_MODES = st.sampled_from([0o755, 0o700, 0o1777])
LINKS = st.sampled_from(["a", "../a", "/etc/passwd", "skip", "no\udcffwhere", "."])
EDITS = ("add file", "add file", "add folder", "add link", "change", "delete", "chmod", "rename", "swap")
IGNORE = "skip\n**/*.log\n!keep.log\n!d/skip\n"

Seen = dict[str, tuple[object, ...]]


def _ignored(path: str) -> bool:
    """What IGNORE says of a path, told from its words and not by our matcher: the last rule wins."""
    parts = path.split("/")
    # `**` stands for anything but a line's end: BuildKit makes it a `.*` of Go's regexp.
    logs = (i for i, part in enumerate(parts) if part.endswith(".log"))
    ignored = parts[0] == "skip" or any("\n" not in "".join(parts[:i]) for i in logs)
    return ignored and parts[0] != "keep.log" and parts[:2] != ["d", "skip"]


def on_disk(root: Path) -> Seen:
    """Each path's kind, mode, and content or target."""
    found: Seen = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            place = Path(folder, name)
            info = place.lstat()
            path, mode = str(place.relative_to(root)), stat.S_IMODE(info.st_mode)
            if place.is_symlink():
                found[path] = ("link", str(place.readlink()))
            elif place.is_dir():
                found[path] = ("folder", mode)
            else:
                seconds = (info.st_mtime_ns + 500_000_000) // 10**9  # as Go's archive/tar rounds
                found[path] = ("file", mode, seconds, place.read_bytes())
    return found


def kept(seen: Seen) -> Seen:
    """What is not ignored; an ignored folder is there for what it holds that is not."""
    paths = {path for path in seen if not _ignored(path)}
    paths |= {path for path in seen if any(inner.startswith(f"{path}/") for inner in paths)}
    return {path: seen[path] for path in paths}


def received(engine: Engine, context: Path, dockerfile: Path) -> Seen:
    """What the engine has after a transfer, as it exports it."""
    sink = io.BytesIO()
    files = FileSync({"context": FolderSource(context), "dockerfile": FolderSource(dockerfile)})
    # Without the cache, which holds a COPY of files that differ in their times only.
    request = BuildRequest(outputs=({"Type": "tar", "Attrs": {}},), no_cache=True)
    with Session(engine.api, [files, FileSend(sink)], shared_key=shared_key(context)) as session:
        solve(engine.api, request, session=session.id)
    sink.seek(0)
    found: Seen = {}
    with tarfile.open(fileobj=sink, errors="surrogateescape") as archive:
        for member in archive:
            path = member.name.strip("/")
            if member.issym():
                found[path] = ("link", member.linkname)
            elif member.isdir():
                found[path] = ("folder", member.mode)
            else:
                content = archive.extractfile(member)
                assert content is not None
                found[path] = ("file", member.mode, int(member.mtime), content.read())
    return found


class Editor:
    """Makes and edits a tree as Hypothesis draws it."""

    def __init__(self, root: Path, data: st.DataObject) -> None:
        self._root = root
        self._draw = data.draw

    def edit(self) -> None:
        kind = self._draw(st.sampled_from(EDITS), label="edit")
        if kind.startswith("add"):
            if (place := self._free()) is not None:
                self._add(kind, place)
            return
        paths = sorted(on_disk(self._root).keys() - {".dockerignore", "always"})
        if not paths:
            return
        place = self._root / self._draw(st.sampled_from(paths), label="path")
        folder = place.is_dir() and not place.is_symlink()
        if kind == "change" and not folder and not place.is_symlink():
            self._write(place)
        elif kind == "chmod" and not place.is_symlink():
            place.chmod(self._draw(FOLDER_MODES if folder else FILE_MODES, label="mode"))
        elif kind == "rename":
            target = self._free()
            if target is not None and not target.is_relative_to(place):
                place.rename(target)
        elif kind in ("delete", "swap"):
            shutil.rmtree(place) if folder else place.unlink()
            if kind == "swap":
                self._add("add file" if folder else "add folder", place)

    def _free(self) -> Path | None:
        """A new path in some folder; None where the drawn one is taken."""
        folders = sorted(path for path, what in on_disk(self._root).items() if what[0] == "folder")
        folder = self._draw(st.sampled_from([".", *folders]), label="folder")
        place = self._root / folder / self._draw(NAMES, label="name")
        return None if os.path.lexists(place) else place

    def _add(self, kind: str, place: Path) -> None:
        if kind == "add folder":
            place.mkdir()
            place.chmod(self._draw(FOLDER_MODES, label="mode"))
        elif kind == "add link":
            place.symlink_to(self._draw(LINKS, label="target"))
        else:
            self._write(place)

    def _write(self, place: Path) -> None:
        place.write_bytes(self._draw(CONTENTS, label="content"))
        place.chmod(self._draw(FILE_MODES, label="mode"))


def test_buildkit_receives_what_is_on_disk_after_every_edit(engine: Engine) -> None:
    further = engines.namespace_pid(engine) is not None
    config = settings(
        max_examples=int(MORE or ("4" if further else "15")),
        derandomize=not MORE,
        phases=[Phase.generate, Phase.shrink] if MORE else [Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    @config
    @given(st.data())
    def check(data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as folder:
            edits_are_received(engine, Path(folder), data)

    check()


def edits_are_received(engine: Engine, folder: Path, data: st.DataObject) -> None:
    context, dockerfile = folder / "context", folder / "dockerfile"
    context.mkdir()
    dockerfile.mkdir()
    (dockerfile / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    if data.draw(st.booleans(), label="with a .dockerignore"):
        (context / ".dockerignore").write_text(IGNORE)
    editor = Editor(context, data)
    for edits in data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3), label="edits of each build"):
        for _ in range(edits * 3):
            editor.edit()
        # COPY refuses an empty context.
        (context / "always").write_text("here")
        seen = on_disk(context)
        expected = kept(seen) if ".dockerignore" in seen else seen
        assert received(engine, context, dockerfile) == expected
