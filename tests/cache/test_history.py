"""The last build of each project is kept for the next run of the program."""

from __future__ import annotations

import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from stagelens_testing.held import limited

from stagelens.builds import BuildTrace, Vertex
from stagelens.cache import Base, BuildRecord, ContextFile, History, Inputs, explain
from stagelens.dockerfile import parse

TEXT = "FROM tools\nARG V\nCOPY a .\nRUN make\n"


def made(content: str, cached: bool, target: str | None = None) -> BuildRecord:
    dockerfile = parse(TEXT)
    file = ContextFile(os.fsdecode(b"na\xffme"), "file", 0o644, 1, content, stamp="1")
    inputs = Inputs(
        dockerfile,
        {"a": replace(file, path="a"), file.path: file},
        {"tools": Base("tools", "layers", {"PATH": "/bin"}, triggers=("RUN x",))},
        build_args={"V": "1"},
        target=target,
        engine="E",
    )
    steps = [Vertex(f"v{i}", "x", ("v0",), cached, 1.0, 2.0, stage=0, instruction=i) for i in (2, 3)]
    return BuildRecord(inputs, BuildTrace(dockerfile, tuple(steps), "session", "sha256:1", tags=("t",)))


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = made("x", cached=False)
    History(tmp_path / "h").keep(record, tmp_path)
    assert History(tmp_path / "h").last(tmp_path) == record


def test_a_later_run_explains_with_it(tmp_path: Path) -> None:
    History(tmp_path / "h").keep(made("x", cached=False), tmp_path)
    before = History(tmp_path / "h").last(tmp_path)
    copy, run = explain(before, made("y", cached=False))
    assert copy.why == "a has other content."
    assert run.root == copy.key


def test_each_project_target_and_dockerfile_has_its_own(tmp_path: Path) -> None:
    history = History(tmp_path / "h")
    history.keep(made("x", cached=False), tmp_path)
    assert history.last(tmp_path / "h") is None
    assert history.last(tmp_path, target="tools") is None
    assert history.last(tmp_path, dockerfile=tmp_path / "Other") is None
    (tmp_path / "link").symlink_to(tmp_path)
    assert history.last(tmp_path / "link") is not None, "the same folder by another name"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": 99}', b"\xff\xfe", b'{"version": 1}'])
def test_a_damaged_file_is_no_history(tmp_path: Path, damage: bytes) -> None:
    history = History(tmp_path / "h")
    history.keep(made("x", cached=False), tmp_path)
    (kept,) = (tmp_path / "h").iterdir()
    kept.write_bytes(damage)
    assert history.last(tmp_path) is None
    history.keep(made("x", cached=False), tmp_path)
    assert history.last(tmp_path) is not None


def test_any_field_may_be_of_the_wrong_type(tmp_path: Path) -> None:
    history = History(tmp_path / "h")
    history.keep(made("x", cached=False), tmp_path)
    (kept,) = (tmp_path / "h").iterdir()
    good = json.loads(kept.read_text())
    for name in good:
        for wrong in (None, 1, "text", [1], {"a": 1}):
            kept.write_text(json.dumps(good | {name: wrong}))
            history.last(tmp_path)


def test_only_the_owner_can_read_it_and_nothing_else_is_left(tmp_path: Path) -> None:
    History(tmp_path / "h").keep(made("x", cached=False), tmp_path)
    (kept,) = (tmp_path / "h").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    assert (tmp_path / "h").stat().st_mode & 0o077 == 0


def test_the_oldest_projects_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelens.cache.history._MAX_PROJECTS", 2)
    history = History(tmp_path / "h")
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        history.keep(made("x", cached=False), folder)
        for kept in (tmp_path / "h").iterdir():
            os.utime(kept, (kept.stat().st_mtime - 100, kept.stat().st_mtime - 100))
    assert [history.last(folder) is not None for folder in folders] == [False, True, True]


def test_a_write_that_fails_leaves_the_former_record(tmp_path: Path) -> None:
    history = History(tmp_path / "h")
    history.keep(made("x", cached=False), tmp_path)
    with limited(resource.RLIMIT_FSIZE, 10), pytest.raises(OSError):
        history.keep(made("y", cached=False), tmp_path)
    assert history.last(tmp_path) == made("x", cached=False)
    assert len(list((tmp_path / "h").iterdir())) == 1
