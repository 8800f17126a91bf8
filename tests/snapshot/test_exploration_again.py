"""What an earlier probe listed is used again where it is still so, and only there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest

import stagelens
from stagelens.engine import Engine
from stagelens.snapshot import explore, inspection, read_file, snapshot_cache
from stagelens.snapshot.snapshot_walk import Lister, SnapshotListing, make_tables
from stagelens.snapshot.snapshot_walk import walk_snapshots as real_walk
from stagelens.snapshot.table import FileTable


@pytest.mark.engine
def test_each_listing_is_of_the_very_snapshot_even_if_another_has_the_same_contents(
    engine: Engine, tmp_path: Path, unique: str
) -> None:
    """BuildKit's keys hold contents and no times: a listing of the older snapshot would answer."""
    for seconds in (1000, 2000):
        (tmp_path / "Dockerfile").write_text(
            f"FROM diamol/base AS old\nRUN echo {unique} > /f; touch -d @{seconds} /f\n"
            f"RUN : {seconds}; echo > /g\nFROM scratch\nCOPY --from=old /g /g\n"
        )
        old = explore(engine, tmp_path, stagelens.build(tmp_path, engine=engine)).stage("old")
        assert [entry.mtime for table in old.tables[1:] if (entry := table.get("f"))] == [seconds] * 2
        assert [entry.path for entry in old.changes(2).added] == ["g"]
        assert not old.changes(2).changed, "an unchanged file is no change"


@pytest.mark.engine
def test_steps_that_somebody_ran_again_without_the_cache_are_listed_anew(
    engine: Engine, tmp_path: Path, unique: str
) -> None:
    """The definitions of the steps are the same then, and so are BuildKit's keys."""
    (tmp_path / "Dockerfile").write_text(
        f"FROM diamol/base AS first\nRUN : {unique}; touch /id-$(cat /proc/sys/kernel/random/uuid)\n"
        "FROM scratch\nCOPY --from=first /etc/passwd /\n"
    )
    seen: set[str] = set()
    for no_cache in (False, True):
        built = [stagelens.build(tmp_path, engine=engine, no_cache=no_cache, target="first")]
        built += [stagelens.build(tmp_path, engine=engine) for _ in range(2)]
        found = set[str]()
        for trace in built:
            lens = explore(engine, tmp_path, trace)
            found |= {entry.path for entry in lens.stage("first").changes(1).added}
        (name,) = found - seen
        assert read_file(lens, "first", None, name).size == 0
        seen.add(name)


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[int, int | None]]:
    """What each probe has to list: snapshots, each with the one before it. Nothing is known but from disk."""
    monkeypatch.setattr(snapshot_cache, "_MAX_TABLES", 0)
    monkeypatch.setattr(snapshot_cache, "_recent", snapshot_cache._Recent())  # pyright: ignore[reportPrivateUsage]
    seen: list[Mapping[int, int | None]] = []

    def walk(
        lister: Lister, workers: Executor, wanted: Mapping[int, int | None], *rest: Any
    ) -> dict[int, SnapshotListing]:
        seen.append(wanted)
        return real_walk(lister, workers, wanted, *rest)

    monkeypatch.setattr(inspection, "walk_snapshots", walk)
    return seen


@pytest.mark.engine
def test_what_has_not_changed_is_not_listed_again(
    engine: Engine, tmp_path: Path, unique: str, walked: list[Mapping[int, int | None]]
) -> None:
    context, keep = tmp_path / "context", tmp_path / "keep"
    context.mkdir()
    text = f"FROM diamol/base AS one\nCOPY a /a\nRUN echo {unique} > /1\nFROM one\nRUN echo 2 > /2\n"
    (context / "Dockerfile").write_text(text)
    (context / "a").write_text(unique)

    def listed() -> int | None:
        """How many snapshots were listed; None where the engine was not asked for any."""
        walked.clear()
        explore(engine, context, stagelens.build(context, engine=engine), cache_folder=keep)
        return sum(map(len, walked)) if walked else None

    assert listed() == 4
    assert listed() is None, "nothing has changed: the engine is not asked"
    (context / "Dockerfile").write_text(text.replace("echo 2", "echo 3"))
    assert listed() == 1, "only what follows the edit"
    (context / "a").write_text(f"{unique} other")
    assert listed() == 3
    shutil.rmtree(keep)
    assert listed() == 4


NASTY = r"""FROM diamol/base AS start
RUN mkdir -p /t/a/b/c /t/x && for d in /t/a /t/a/b /t/a/b/c /t/x; do echo 1 > $d/f; ln -s f $d/l; done
RUN echo 2 >> /t/a/b/c/f
RUN chmod 700 /t/a/b
RUN mv /t/a/b /t/moved
RUN mkdir /t/deep && mv /t/moved /t/deep/moved
RUN rm -r /t/x && mkdir /t/x && echo new > /t/x/g
RUN rm -r /t/x && echo file > /t/x
RUN rm /t/x && ln -s a /t/x && rm -r /t/a && mkdir -p /t/a/b && echo back > /t/a/b/f
RUN ln /t/a/b/f /t/a/b/hard && touch -d @7 /t/a/b/f
RUN rm -r /t
RUN rm -r /etc /bin/busybox.x 2> /dev/null; true
FROM start
WORKDIR /t/a/b/c
COPY --from=start /bin/ /t/a/b/
RUN touch /bin/zz
"""


@pytest.mark.engine
def test_what_a_step_left_alone_is_taken_from_the_snapshot_before_and_is_right(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unique: str
) -> None:
    """Against listings of every snapshot as a whole, by the engine's shells and from layers on this machine;
    folders are moved, replaced, emptied and made again.
    """
    monkeypatch.setattr(snapshot_cache, "_MAX_TABLES", 0)
    (tmp_path / "Dockerfile").write_text(NASTY.replace("echo 1", f"echo {unique}"))
    trace = stagelens.build(tmp_path, engine=engine)
    quick = explore(engine, tmp_path, trace, cache_folder=tmp_path / "quick").stages

    def walk(
        lister: Lister, workers: Executor, wanted: Iterable[int], *_: object
    ) -> dict[int, SnapshotListing]:
        return real_walk(lister, workers, dict.fromkeys(wanted))

    def tables(
        listed: Mapping[int, SnapshotListing], wanted: Iterable[int], _: object
    ) -> dict[int, FileTable]:
        return make_tables(listed, dict.fromkeys(wanted), {})

    monkeypatch.setattr(inspection, "walk_snapshots", walk)
    monkeypatch.setattr(inspection, "make_tables", tables)
    here = explore(engine, tmp_path, trace, cache_folder=tmp_path / "here").stages
    monkeypatch.setattr(inspection, "HostLayers", lambda shells, _: shells)  # pyright: ignore[reportUnknownLambdaType]
    there = explore(engine, tmp_path, trace, cache_folder=tmp_path / "there").stages
    for one, *others in zip(quick, here, there, strict=True):
        assert [one.tables] * 2 == [other.tables for other in others]


@pytest.mark.engine
def test_an_edit_that_is_undone_brings_the_former_files_back(
    engine: Engine, tmp_path: Path, unique: str
) -> None:
    """Though every step is cached by then, and the image is the same all along."""
    (tmp_path / "Dockerfile").write_text(
        "FROM diamol/base AS one\nCOPY a /a\nFROM scratch\nCOPY --from=one /etc/passwd /\n"
    )
    sizes: list[int] = []
    for text in (unique, f"{unique} edited", unique):
        (tmp_path / "a").write_text(text)
        os.utime(tmp_path / "a", (1000, 1000))
        lens = explore(engine, tmp_path, stagelens.build(tmp_path, engine=engine))
        sizes += [entry.size for entry in lens.stage("one").changes(1).added]
    assert sizes == [len(unique), len(unique) + len(" edited"), len(unique)]
