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
from stagelens.snapshot.points import Point

from stagelens.build import BuildTrace, Vertex
from stagelens.dockerfile import parse
from stagelens.snapshot import known as room
from stagelens.snapshot.known import BuildKey, Known
from stagelens.snapshot.listing import ListingError

TRACE = BuildTrace(parse("FROM a\nRUN b\n"), (), "session", "sha256:0")
KEY = BuildKey("project", "build")
TEXTS = {Point(0, 0): "FROM a", Point(0, 1): "RUN b"}


def listing(name: str) -> dict[str, bytes]:
    return {
        "names": b".\0./" + name.encode() + b"\0",
        "facts": b"41ed 0 0 4096 1\n81a4 0 0 5 7\n",
        "links": b"",
    }


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of its own: what is known is on disk alone."""
    monkeypatch.setattr(room, "_MAX_TABLES", 0)


def test_a_build_comes_back_from_disk_with_the_files_of_its_points(tmp_path: Path) -> None:
    known = Known(tmp_path)
    made = {Point(0, 0): known.snapshot(listing("a"), "x"), Point(0, 1): known.snapshot(listing("b"), "y")}
    known.keep_build(KEY, 10.0, made, TEXTS)
    assert Known(tmp_path).build(KEY, TRACE) == made
    assert Known(tmp_path).build(replace(KEY, build="other"), TRACE) is None
    assert Known(tmp_path).build(replace(KEY, build=None), TRACE) is None
    assert Known(tmp_path).build(replace(KEY, project="other"), TRACE) is None


@pytest.mark.parametrize(
    ("cached", "completed", "told"), [(False, 9.0, True), (False, 11.0, False), (True, 11.0, True)]
)
def test_a_step_that_ran_since_is_a_reason_to_ask_the_engine(
    tmp_path: Path, cached: bool, completed: float, told: bool
) -> None:
    known = Known(tmp_path)
    known.keep_build(KEY, 10.0, {Point(0, 0): known.snapshot(listing("a"), "x")}, TEXTS)
    step = Vertex("sha256:1", "RUN b", cached=cached, completed=completed, stage=0, instruction=1)
    assert (known.build(KEY, replace(TRACE, vertices=(step,))) is not None) == told


def test_only_a_project_s_last_exploration_is_known(tmp_path: Path) -> None:
    known = Known(tmp_path)
    for build in ("build", "of another target"):
        key = replace(KEY, build=build)
        known.keep_build(key, 10.0, {Point(0, 0): known.snapshot(listing("a"), "x")}, TEXTS)
    assert known.build(KEY, TRACE) is None


def test_damaged_files_are_as_none(tmp_path: Path) -> None:
    known = Known(tmp_path)
    known.keep_build(KEY, 10.0, {Point(0, 0): known.snapshot(listing("a"), "x")}, TEXTS)
    for file in tmp_path.iterdir():
        good = file.read_bytes()
        for bad in (b"", b"[]", b"1", good[:-1], good[: len(good) // 2]):
            file.write_bytes(bad)
            assert known.build(KEY, TRACE) is None
        file.write_bytes(good)
    assert known.build(KEY, TRACE) is not None


@pytest.mark.parametrize("bad", [["a"], {}, None, "../x", "\0"])
def test_an_index_of_the_right_form_with_wrong_values_is_as_none(tmp_path: Path, bad: object) -> None:
    known = Known(tmp_path)
    known.keep_build(KEY, 10.0, {Point(0, 0): known.snapshot(listing("a"), "x")}, TEXTS)
    (file,) = tmp_path.glob("*.build")
    facts = json.loads(file.read_bytes())
    for column in range(3):
        point = [*facts["points"][0]]
        point[column] = bad
        file.write_text(json.dumps(facts | {"points": [point]}))
        assert known.build(KEY, TRACE) is None
        assert known.guesses(KEY) == {}


def test_a_listing_without_a_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ListingError):
        Known(tmp_path).snapshot({"names": b".\0"}, "")


def test_a_guess_is_worth_something_only_if_the_engine_has_that_snapshot(tmp_path: Path) -> None:
    known = Known(tmp_path)
    assert known.guesses(KEY) == {}
    made = {Point(0, 0): known.snapshot(listing("a"), "x")}
    known.keep_build(KEY, 10.0, made, TEXTS)
    guess = Known(tmp_path).guesses(replace(KEY, build="after an edit"))["FROM a"]
    assert known.guessed(guess, {"w", "x"}) == made[Point(0, 0)]
    assert known.guessed(guess, {"w"}) is None


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
    known = Known(tmp_path)
    with no_room(20):
        made = {Point(0, 0): known.snapshot(listing("a"), "x")}
        known.keep_build(KEY, 10.0, made, TEXTS)
    assert made[Point(0, 0)].table.get("a")
    assert list(tmp_path.iterdir()) == []
    assert known.build(KEY, TRACE) is None
