"""What a probe keeps for the next time: right or not there, and no error where it cannot be kept."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagelens.builds import BuildTrace, Vertex
from stagelens.dockerfile import parse
from stagelens.snapshot import snapshot_cache as module
from stagelens.snapshot.points import CopyPaths, Point
from stagelens.snapshot.snapshot_cache import BuildKey, BuildSnapshots, SnapshotCache
from stagelens.snapshot.table import Entry, FileTable

TRACE = BuildTrace(parse("FROM a\nRUN b\n"), (), "session", "sha256:0")
KEY = BuildKey("project", "build")
ONE, OTHER = "1" * 64, "2" * 64


def table(name: str) -> FileTable:
    return FileTable.from_entries([Entry(name, "file", 0o644, 0, 0, 5, 7, None)])


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of its own: what is known is on disk alone."""
    monkeypatch.setattr(module, "_MAX_TABLES", 0)
    monkeypatch.setattr(module, "_recent", module._Recent())  # pyright: ignore[reportPrivateUsage]


def test_a_build_comes_back_from_disk_with_the_files_of_its_points(tmp_path: Path) -> None:
    cache = SnapshotCache(tmp_path)
    files = {Point(0, 0): cache.store(ONE, table("a")), Point(0, 1): cache.store(OTHER, table("b"))}
    made = BuildSnapshots(files, {Point(0, 1): CopyPaths(("/a", "/b"), "/app/")})
    cache.store_build(KEY, 10.0, made)
    assert SnapshotCache(tmp_path).load_build(KEY, TRACE) == made
    assert SnapshotCache(tmp_path).load_build(replace(KEY, build="other"), TRACE) is None
    assert SnapshotCache(tmp_path).load_build(replace(KEY, build=None), TRACE) is None
    assert SnapshotCache(tmp_path).load_build(replace(KEY, project="other"), TRACE) is None


@pytest.mark.parametrize(
    ("cached", "completed", "told"), [(False, 9.0, True), (False, 11.0, False), (True, 11.0, True)]
)
def test_a_step_that_ran_since_is_a_reason_to_ask_the_engine(
    tmp_path: Path, cached: bool, completed: float, told: bool
) -> None:
    cache = SnapshotCache(tmp_path)
    cache.store_build(KEY, 10.0, BuildSnapshots({Point(0, 0): cache.store(ONE, table("a"))}, {}))
    step = Vertex("sha256:1", "RUN b", cached=cached, completed=completed, stage=0, instruction=1)
    assert (cache.load_build(KEY, replace(TRACE, vertices=(step,))) is not None) == told


def test_only_a_project_s_last_exploration_is_known(tmp_path: Path) -> None:
    cache = SnapshotCache(tmp_path)
    for build in ("build", "of another target"):
        key = replace(KEY, build=build)
        cache.store_build(key, 10.0, BuildSnapshots({Point(0, 0): cache.store(ONE, table("a"))}, {}))
    assert cache.load_build(KEY, TRACE) is None


def test_damaged_files_are_as_none(tmp_path: Path) -> None:
    cache = SnapshotCache(tmp_path)
    cache.store_build(KEY, 10.0, BuildSnapshots({Point(0, 0): cache.store(ONE, table("a"))}, {}))
    for file in tmp_path.iterdir():
        good = file.read_bytes()
        for bad in (b"", b"[]", b"1", good[:-1], good[: len(good) // 2]):
            file.write_bytes(bad)
            assert cache.load_build(KEY, TRACE) is None
        file.write_bytes(good)
    assert cache.load_build(KEY, TRACE) is not None


@pytest.mark.parametrize("bad", [["a"], {}, None, "../x", "\0"])
def test_an_index_of_the_right_form_with_wrong_values_is_as_none(tmp_path: Path, bad: object) -> None:
    cache = SnapshotCache(tmp_path)
    cache.store_build(KEY, 10.0, BuildSnapshots({Point(0, 0): cache.store(ONE, table("a"))}, {}))
    (file,) = tmp_path.glob("*.build")
    facts = json.loads(file.read_bytes())
    for column in range(3):
        point = [*facts["points"][0]]
        point[column] = bad
        file.write_text(json.dumps(facts | {"points": [point]}))
        assert cache.load_build(KEY, TRACE) is None


@pytest.mark.parametrize(
    "bad",
    [
        0,
        [],
        [[0, 1], "/a", "/"],
        [[0, 1], [1], "/"],
        [[0, 1], ["/a"], None],
        [[0, "1"], ["/a"], "/"],
        [[0], [], ""],
    ],
)
def test_copies_of_another_form_are_as_none(tmp_path: Path, bad: object) -> None:
    cache = SnapshotCache(tmp_path)
    copies = {Point(0, 1): CopyPaths(("/a",), "/app/")}
    cache.store_build(KEY, 10.0, BuildSnapshots({Point(0, 0): cache.store(ONE, table("a"))}, copies))
    (file,) = tmp_path.glob("*.build")
    facts = json.loads(file.read_bytes())
    assert cache.load_build(KEY, TRACE) is not None
    file.write_text(json.dumps(facts | {"copies": [bad]}))
    assert cache.load_build(KEY, TRACE) is None


def test_a_snapshot_is_found_by_its_identity_and_files_without_one_by_themselves(tmp_path: Path) -> None:
    cache = SnapshotCache(tmp_path)
    made = cache.store(ONE, table("a"))
    assert SnapshotCache(tmp_path).load(ONE) == made
    assert cache.load(OTHER) is None
    nameless = [cache.store(None, table(name)) for name in ("a", "b", "a")]
    assert nameless[0] == nameless[2] != nameless[1]
    assert SnapshotCache(tmp_path).load(nameless[1].identity) == nameless[1]


@contextmanager
def no_room(size: int) -> Generator[None]:
    """Files cannot grow beyond `size` bytes: writing fails in the middle, as on a full disk."""
    before: Any = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_on_a_full_disk_nothing_is_kept_and_nothing_is_left(tmp_path: Path) -> None:
    cache = SnapshotCache(tmp_path)
    with no_room(20):
        made = {Point(0, 0): cache.store(ONE, table("a"))}
        cache.store_build(KEY, 10.0, BuildSnapshots(made, {}))
    assert made[Point(0, 0)].table.get("a")
    assert list(tmp_path.iterdir()) == []
    assert cache.load_build(KEY, TRACE) is None
