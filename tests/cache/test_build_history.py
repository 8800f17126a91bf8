"""Store the last build of each project for the next process."""

from __future__ import annotations

import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from stagelens_testing.resources import resource_limit

from stagelens.builds import BuildTrace, Vertex
from stagelens.cache import BuildHistory, BuildInputs, BuildRecord, ContextFile, InputImage, explain
from stagelens.dockerfile import parse

TEXT = "FROM tools\nARG V\nCOPY a .\nRUN make\n"


def made(content: str, cached: bool, target: str | None = None) -> BuildRecord:
    dockerfile = parse(TEXT)
    file = ContextFile(os.fsdecode(b"na\xffme"), "file", 0o644, 1, content, stamp="1")
    inputs = BuildInputs(
        dockerfile,
        {"a": replace(file, path="a"), file.path: file},
        {"tools": InputImage("tools", "layers", {"PATH": "/bin"}, triggers=("RUN x",))},
        build_args={"V": "1"},
        target=target,
        engine="E",
    )
    steps = [Vertex(f"v{i}", "x", ("v0",), cached, 1.0, 2.0, stage=0, instruction=i) for i in (2, 3)]
    steps.append(replace(steps[0], instruction=3, others=((0, 2), (0, 1)), part_of=((0, 2),)))
    return BuildRecord(inputs, BuildTrace(dockerfile, tuple(steps), "session", "sha256:1", tags=("t",)))


def test_stored_record_is_restored(tmp_path: Path) -> None:
    record = made("x", cached=False)
    BuildHistory(tmp_path / "h").store(record, tmp_path)
    assert BuildHistory(tmp_path / "h").last(tmp_path) == record


def test_record_of_an_older_version_is_restored(tmp_path: Path) -> None:
    record = made("x", cached=False)
    BuildHistory(tmp_path / "h").store(record, tmp_path)
    (stored,) = (tmp_path / "h").iterdir()
    facts = json.loads(stored.read_text())
    for vertex in facts["vertices"]:
        del vertex["others"], vertex["part_of"]
    stored.write_text(json.dumps(facts))
    restored = BuildHistory(tmp_path / "h").last(tmp_path)
    assert restored is not None
    assert [v.instructions for v in restored.trace.vertices] == [((0, 2),), ((0, 3),), ((0, 3),)]


def test_restored_record_explains_the_next_build(tmp_path: Path) -> None:
    BuildHistory(tmp_path / "h").store(made("x", cached=False), tmp_path)
    before = BuildHistory(tmp_path / "h").last(tmp_path)
    copy, run = explain(before, made("y", cached=False))
    assert copy.why == "a has different content."
    assert run.root == copy.key


def test_each_project_target_and_dockerfile_has_a_separate_record(tmp_path: Path) -> None:
    history = BuildHistory(tmp_path / "h")
    history.store(made("x", cached=False), tmp_path)
    assert history.last(tmp_path / "h") is None
    assert history.last(tmp_path, target="tools") is None
    assert history.last(tmp_path, dockerfile=tmp_path / "Other") is None
    (tmp_path / "link").symlink_to(tmp_path)
    assert history.last(tmp_path / "link") is not None, "the same folder by another name"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": 99}', b"\xff\xfe", b'{"version": 1}'])
def test_damaged_file_is_ignored_and_replaced(tmp_path: Path, damage: bytes) -> None:
    history = BuildHistory(tmp_path / "h")
    history.store(made("x", cached=False), tmp_path)
    (stored,) = (tmp_path / "h").iterdir()
    stored.write_bytes(damage)
    assert history.last(tmp_path) is None
    history.store(made("x", cached=False), tmp_path)
    assert history.last(tmp_path) is not None


def test_fields_of_a_wrong_type_are_tolerated(tmp_path: Path) -> None:
    history = BuildHistory(tmp_path / "h")
    history.store(made("x", cached=False), tmp_path)
    (stored,) = (tmp_path / "h").iterdir()
    good = json.loads(stored.read_text())
    for name in good:
        for wrong in (None, 1, "text", [1], {"a": 1}):
            stored.write_text(json.dumps(good | {name: wrong}))
            history.last(tmp_path)


def test_files_are_private_and_no_temporary_file_remains(tmp_path: Path) -> None:
    BuildHistory(tmp_path / "h").store(made("x", cached=False), tmp_path)
    (stored,) = (tmp_path / "h").iterdir()
    assert stored.stat().st_mode & 0o077 == 0
    assert (tmp_path / "h").stat().st_mode & 0o077 == 0


def test_oldest_projects_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelens.cache.build_history._MAX_PROJECTS", 2)
    history = BuildHistory(tmp_path / "h")
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        history.store(made("x", cached=False), folder)
        for stored in (tmp_path / "h").iterdir():
            os.utime(stored, (stored.stat().st_mtime - 100, stored.stat().st_mtime - 100))
    assert [history.last(folder) is not None for folder in folders] == [False, True, True]


def test_failed_write_preserves_the_former_record(tmp_path: Path) -> None:
    history = BuildHistory(tmp_path / "h")
    history.store(made("x", cached=False), tmp_path)
    with resource_limit(resource.RLIMIT_FSIZE, 10), pytest.raises(OSError):
        history.store(made("y", cached=False), tmp_path)
    assert history.last(tmp_path) == made("x", cached=False)
    assert len(list((tmp_path / "h").iterdir())) == 1
