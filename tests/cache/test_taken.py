"""Which files of a context each instruction takes, and what their digests stand for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from stagelens.cache import ContextFile, Inputs
from stagelens.cache.manifest import Digests, read_manifest
from stagelens.cache.steps import context_sources, read_steps
from stagelens.cache.taken import changes, files_of
from stagelens.dockerfile import parse

FILES = ("a.txt", "b.txt", "c.md", "src/main.c", "src/lib/x.c", "src/lib/y.h", "other/z.c", "skipped/s")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "link").symlink_to("src/lib")
    (tmp_path / "up").symlink_to("../../a.txt")
    (tmp_path / "src/inner").symlink_to("main.c")
    (tmp_path / ".dockerignore").write_text("skipped\n.dockerignore\n")
    return tmp_path


def manifest(context: Path, *sources: str) -> Mapping[str, ContextFile]:
    return read_manifest(context, "Dockerfile", sources)


def taken(context: Path, *instructions: str, build_args: dict[str, str] | None = None) -> list[str]:
    """What the last of these instructions takes; folders left out."""
    text = "\n".join(["FROM scratch AS earlier", "COPY a.txt /", "FROM scratch", *instructions])
    dockerfile = parse(text)
    files = manifest(context, *context_sources(dockerfile, build_args or {}, None))
    steps = read_steps(Inputs(dockerfile, files, {}, build_args or {}))
    return sorted(file.path for file in files_of(steps[-1], files).values() if file.kind != "dir")


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("COPY a.txt /", ["a.txt"]),
        ("COPY a.txt src/main.c /x/", ["a.txt", "src/main.c"]),
        ('COPY ["a.txt", "/"]', ["a.txt"]),
        ("COPY ./src//lib/ /", ["src/lib/x.c", "src/lib/y.h"]),
        ("COPY /src/lib /", ["src/lib/x.c", "src/lib/y.h"]),
        ("COPY ../../a.txt /", ["a.txt"]),
        ("COPY *.txt /", ["a.txt", "b.txt"]),
        ("COPY [ab].txt /", ["a.txt", "b.txt"]),
        ("COPY src/*/*.c /", ["src/lib/x.c"]),
        ("COPY s*c /", ["src/inner", "src/lib/x.c", "src/lib/y.h", "src/main.c"]),
        ("COPY link /", ["src/lib/x.c", "src/lib/y.h"]),
        ("COPY link/x.c /", ["src/lib/x.c"]),
        ("COPY up /", ["a.txt"]),
        ("COPY src/inner /", ["src/main.c"]),
        ("COPY skipped /", []),
        ("COPY none /", []),
        ("COPY --exclude=*.h src/lib /", ["src/lib/x.c"]),
        ("COPY --from=earlier /a.txt /", []),
        ("ADD a.txt http://example.test/b.txt /", ["a.txt"]),
        ("COPY <<EOF c.md /d/\ntext\nEOF", ["c.md"]),
        ("RUN --mount=type=bind,source=src/lib,target=/m true", ["src/lib/x.c", "src/lib/y.h"]),
        ("RUN --mount=target=/m,source=b.txt true", ["b.txt"]),
        ("RUN --mount=type=cache,target=/m true", []),
        ("RUN --mount=type=bind,from=earlier,target=/m true", []),
    ],
)
def test_an_instruction_takes(context: Path, instruction: str, expected: list[str]) -> None:
    assert taken(context, instruction) == expected


def test_a_dot_takes_all_but_the_ignored(context: Path) -> None:
    links = ["link", "src/inner", "up"]
    assert taken(context, "COPY . .") == sorted([*FILES[:-1], *links])


def test_variables_in_sources_are_replaced(context: Path) -> None:
    assert taken(context, "ENV NAME=a", "COPY ${NAME}.txt /") == ["a.txt"]
    lines = ("ARG NAME=a", "COPY ${NAME:-x}.txt /")
    assert taken(context, *lines, build_args={"NAME": "b"}) == ["b.txt"]


def test_only_what_the_needed_stages_name_is_read(context: Path) -> None:
    assert set(manifest(context, "src/lib/x.c")) == {"src", "src/lib", "src/lib/x.c"}
    assert manifest(context) == {}


def test_a_change_of_content_type_mode_or_target_is_seen_and_a_touch_is_not(context: Path) -> None:
    before = manifest(context, ".")
    os.utime(context / "b.txt", (1, 1))
    assert changes(before, manifest(context, ".")) == ()
    (context / "a.txt").write_text("A.txt")
    (context / "b.txt").chmod(0o600)
    (context / "c.md").unlink()
    (context / "c.md").symlink_to("a.txt")
    (context / "up").unlink()
    (context / "up").symlink_to("a.txt")
    (context / "src/main.c").rename(context / "src/moved.c")
    found = [(change.path, change.kind) for change in changes(before, manifest(context, "."))]
    assert found == [
        ("a.txt", "content"),
        ("b.txt", "mode"),
        ("c.md", "kind"),
        ("src/main.c", "removed"),
        ("src/moved.c", "added"),
        ("up", "target"),
    ]


def test_a_settled_file_is_read_once(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelens.cache.manifest._SETTLED_NS", -1)
    first = manifest(context, ".")

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("stagelens.cache.manifest.Contents.read_chunks", refuse)
    assert manifest(context, ".") == first
    fresh = Digests()
    fresh.learn(first.values())
    monkeypatch.setattr("stagelens.cache.manifest.digests", fresh)
    assert manifest(context, ".") == first, "an earlier manifest is as good as having read it"


def test_a_file_that_was_written_just_now_is_read_again(
    context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelens.cache.manifest._SETTLED_NS", 10**12)  # long enough for any machine
    known = Digests()
    assert manifest(context, "a.txt")["a.txt"].stamp == ""
    known.learn(manifest(context, ".").values())
    for text in ("1.txt", "2.txt", "3.txt"):
        before = manifest(context, "a.txt")
        (context / "a.txt").write_text(text)
        assert [c.path for c in changes(before, manifest(context, "a.txt"))] == ["a.txt"]


def test_a_file_too_large_to_read_counts_by_its_times(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelens.cache.manifest.MAX_DIGEST_BYTES", 2)
    before = manifest(context, "a.txt", "b.txt")
    assert before["a.txt"].digest is None
    os.utime(context / "a.txt", (1, 1))
    assert [c.path for c in changes(before, manifest(context, "a.txt", "b.txt"))] == ["a.txt"]


def test_what_is_ignored_may_be_said_beside_a_dockerfile_elsewhere(context: Path) -> None:
    elsewhere = context.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "My.Dockerfile.dockerignore").write_text("*\n!a.txt\n")
    assert set(read_manifest(context, elsewhere / "My.Dockerfile", ["."])) == {"a.txt"}


def test_a_circle_of_links_ends(context: Path) -> None:
    (context / "round").symlink_to("circle")
    (context / "circle").symlink_to("round")
    assert taken(context, "COPY round/x /") == []


def test_of_too_many_digests_those_used_last_are_known(
    context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelens.cache.manifest._MAX_KNOWN", 2)
    known = Digests()
    read: list[bytes] = []

    class Counted:
        def read_chunks(self, path: bytes) -> list[bytes]:
            read.append(path)
            return [path]

    for name in (b"a", b"b", b"a", b"c", b"a", b"b"):
        known.digest(cast("Any", Counted()), name, name.decode())
    assert read == [b"a", b"b", b"c", b"b"]
