"""Read, select and compare the files of a context."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from stagelens.cache import BuildInputs, ContextFile
from stagelens.cache.context_files import DigestCache, compare_files, read_context_files, select_files
from stagelens.cache.steps import context_sources, read_steps
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


def read(context: Path, *sources: str) -> Mapping[str, ContextFile]:
    return read_context_files(context, "Dockerfile", sources)


def selected(context: Path, *instructions: str, build_args: dict[str, str] | None = None) -> list[str]:
    """Return the paths that the last instruction selects, without folders."""
    text = "\n".join(["FROM scratch AS earlier", "COPY a.txt /", "FROM scratch", *instructions])
    dockerfile = parse(text)
    files = read(context, *context_sources(dockerfile, build_args or {}, None).get("", ()))
    steps = read_steps(BuildInputs(dockerfile, files, {}, build_args or {}))
    return sorted(file.path for file in select_files(steps[-1], files).values() if file.kind != "dir")


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
def test_files_selected_by_an_instruction(context: Path, instruction: str, expected: list[str]) -> None:
    assert selected(context, instruction) == expected


def test_dot_selects_all_but_ignored_files(context: Path) -> None:
    links = ["link", "src/inner", "up"]
    assert selected(context, "COPY . .") == sorted([*FILES[:-1], *links])


def test_variables_in_sources_are_replaced(context: Path) -> None:
    assert selected(context, "ENV NAME=a", "COPY ${NAME}.txt /") == ["a.txt"]
    lines = ("ARG NAME=a", "COPY ${NAME:-x}.txt /")
    assert selected(context, *lines, build_args={"NAME": "b"}) == ["b.txt"]


def test_only_named_paths_are_read(context: Path) -> None:
    assert set(read(context, "src/lib/x.c")) == {"src", "src/lib", "src/lib/x.c"}
    assert read(context) == {}


def test_changes_of_content_type_mode_and_target_count_and_times_do_not(context: Path) -> None:
    before = read(context, ".")
    os.utime(context / "b.txt", (1, 1))
    assert compare_files(before, read(context, ".")) == ()
    (context / "a.txt").write_text("A.txt")
    (context / "b.txt").chmod(0o600)
    (context / "c.md").unlink()
    (context / "c.md").symlink_to("a.txt")
    (context / "up").unlink()
    (context / "up").symlink_to("a.txt")
    (context / "src/main.c").rename(context / "src/moved.c")
    found = [(change.path, change.kind) for change in compare_files(before, read(context, "."))]
    assert found == [
        ("a.txt", "content"),
        ("b.txt", "mode"),
        ("c.md", "kind"),
        ("src/main.c", "removed"),
        ("src/moved.c", "added"),
        ("up", "target"),
    ]


def test_unmodified_file_is_read_once(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelens.cache.context_files._SETTLED_NS", -1)
    first = read(context, ".")

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("stagelens.cache.context_files.Contents.read_chunks", refuse)
    assert read(context, ".") == first
    fresh = DigestCache()
    fresh.add(first.values())
    monkeypatch.setattr("stagelens.cache.context_files.digest_cache", fresh)
    assert read(context, ".") == first, "digests of earlier files are reused"


def test_freshly_written_file_is_read_again(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelens.cache.context_files._SETTLED_NS", 10**12)  # long enough for any machine
    cache = DigestCache()
    assert read(context, "a.txt")["a.txt"].stamp == ""
    cache.add(read(context, ".").values())
    for text in ("1.txt", "2.txt", "3.txt"):
        before = read(context, "a.txt")
        (context / "a.txt").write_text(text)
        assert [c.path for c in compare_files(before, read(context, "a.txt"))] == ["a.txt"]


def test_file_too_large_to_read_counts_by_its_times(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelens.cache.context_files.MAX_DIGEST_BYTES", 2)
    before = read(context, "a.txt", "b.txt")
    assert before["a.txt"].digest is None
    os.utime(context / "a.txt", (1, 1))
    assert [c.path for c in compare_files(before, read(context, "a.txt", "b.txt"))] == ["a.txt"]


def test_ignore_file_next_to_a_dockerfile_outside_the_context_applies(context: Path) -> None:
    elsewhere = context.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "My.Dockerfile.dockerignore").write_text("*\n!a.txt\n")
    assert set(read_context_files(context, elsewhere / "My.Dockerfile", ["."])) == {"a.txt"}


def test_symlink_loop_ends(context: Path) -> None:
    (context / "round").symlink_to("circle")
    (context / "circle").symlink_to("round")
    assert selected(context, "COPY round/x /") == []


def test_least_recently_used_digests_are_dropped(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelens.cache.context_files._MAX_DIGESTS", 2)
    cache = DigestCache()
    read: list[bytes] = []

    class Counted:
        def read_chunks(self, path: bytes) -> list[bytes]:
            read.append(path)
            return [path]

    for name in (b"a", b"b", b"a", b"c", b"a", b"b"):
        cache.digest(cast("Any", Counted()), name, name.decode())
    assert read == [b"a", b"b", b"c", b"b"]
