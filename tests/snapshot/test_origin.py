"""Files followed onward through the stages, and those that stay behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import stagelens
from stagelens.engine import Engine
from stagelens.snapshot import Entry, Exploration, FileStep, destinations, history, left_behind
from stagelens.snapshot.points import CopyPaths, Point

DOCKERFILE = """\
FROM base AS builder
RUN make
FROM builder AS tested
RUN test
FROM scratch
COPY --from=builder /out/app /server
COPY --from=tested /out/notes.txt /doc/
"""
BASE = [Entry("bin", "dir"), Entry("bin/cc", "file", size=900, mtime=1)]
APP = Entry("out/app", "file", size=50, mtime=7)
NOTES = Entry("out/notes.txt", "file", size=5, mtime=8)
OBJECT = Entry("out/app.o", "file", size=40, mtime=7)


@pytest.fixture(scope="module")
def build(explored: Callable[..., Exploration]) -> Exploration:
    built = [*BASE, Entry("out", "dir"), APP, NOTES, OBJECT]
    server = Entry("server", "file", size=50, mtime=7)
    copied = [server, Entry("doc", "dir"), Entry("doc/notes.txt", "file", size=5, mtime=8)]
    return explored(DOCKERFILE, [BASE, built], [built, built], [[], [server], copied])


def test_a_file_is_followed_under_the_name_it_gets(build: Exploration) -> None:
    assert destinations(build, "builder", "out/app") == (FileStep(1, 0, "out/app"), FileStep(2, 1, "server"))


def test_a_file_is_followed_through_a_stage_that_begins_with_another(build: Exploration) -> None:
    steps = destinations(build, "builder", "/out/notes.txt")
    assert steps == (FileStep(1, 0, "out/notes.txt"), FileStep(2, 2, "doc/notes.txt"))


def test_a_copy_from_the_cache_may_have_other_times(explored: Callable[..., Exploration]) -> None:
    text = "FROM a AS one\nRUN w\nFROM a\nCOPY --from=one /n /m\n"
    build = explored(
        text, [[], [Entry("n", "file", size=1, mtime=9)]], [[], [Entry("m", "file", size=1, mtime=5)]]
    )
    assert history(build, 1, "m") == (FileStep(1, 1, "m"), FileStep(0, 1, "n"))
    assert destinations(build, "one", "n") == (FileStep(1, 1, "m"),)


def test_a_file_that_nobody_takes_goes_nowhere(build: Exploration) -> None:
    assert destinations(build, "tested", "out/app.o") == ()
    assert destinations(build, "builder", "no/such/file") == ()


def test_left_behind_is_what_no_copy_took(build: Exploration) -> None:
    table = build.stage("builder").final
    left = {table.entry(row).path for row, flag in enumerate(left_behind(build, "builder")) if flag}
    assert left == {"bin/cc", "out/app.o"}


def test_what_was_changed_on_its_way_is_not_left_behind(explored: Callable[..., Exploration]) -> None:
    text = (
        "FROM a AS one\nRUN w\nFROM a AS two\nCOPY --from=one /n /n\nRUN w\nFROM a\nCOPY --from=two /n /n\n"
    )
    short, long = [Entry("n", "file", size=1)], [Entry("n", "file", size=2)]
    build = explored(text, [[], short], [[], short, long], [[], long])
    assert left_behind(build, "one") == b"\0"


def test_nothing_of_the_target_is_left_behind(build: Exploration) -> None:
    assert not any(left_behind(build, 2))


def file(path: str, mtime: int = 7) -> Entry:
    return Entry(path, "file", size=1, mtime=mtime)


# Two of everything: neither name nor size nor time tells which of them was copied.
MADE = [file(f"{place}/index.js") for place in ("src/dist/a", "src/dist/b", "out/a", "out/b")]


@pytest.mark.parametrize(
    ("copy", "here", "there"),
    [
        ("WORKDIR /app\nCOPY --from=one /src/dist/b .", "app/index.js", "src/dist/b/index.js"),
        ("WORKDIR /app\nCOPY --from=one /src/dist ./lib", "app/lib/b/index.js", "src/dist/b/index.js"),
        ("WORKDIR app\nWORKDIR ../web\nCOPY --from=one out/b/index.js x", "web/x", "out/b/index.js"),
        ("ENV TO=/h\nCOPY --from=one /out/b $TO/", "h/index.js", "out/b/index.js"),
        ("ARG OUT\nCOPY --from=one $OUT/b /h/", "h/index.js", "out/b/index.js"),
        ("ARG OUT\nWORKDIR $OUT\nCOPY --from=one ${OUT:-x}/b ./", "out/index.js", "out/b/index.js"),
        ('COPY --from=one ["/out/b/", "/a b/"]', "a b/index.js", "out/b/index.js"),
        ("COPY --from=one /out/b/*.js /js/", "js/index.js", "out/b/index.js"),
        ("COPY --from=one --parents /src/./dist/b /p/", "p/dist/b/index.js", "src/dist/b/index.js"),
        ("COPY --from=one --parents /src/dist/b /p/", "p/src/dist/b/index.js", "src/dist/b/index.js"),
        ("COPY --from=one / /all", "all/out/b/index.js", "out/b/index.js"),
    ],
)
def test_the_words_of_a_copy_tell_which_of_many_files_alike_it_took(
    explored: Callable[..., Exploration], copy: str, here: str, there: str
) -> None:
    text = f"ARG OUT=/out\nFROM base AS one\nRUN make\nFROM base\n{copy}\n"
    unchanged = [list[Entry]()] * copy.count("\n")
    build = explored(text, [[], MADE], [[], *unchanged, [file(here)]])
    last = copy.count("\n") + 1
    assert history(build, 1, here) == (FileStep(1, last, here), FileStep(0, 1, there))
    assert destinations(build, "one", there) == (FileStep(1, last, here),)


def test_of_several_sources_the_one_of_that_name_was_taken(explored: Callable[..., Exploration]) -> None:
    text = "FROM base AS one\nRUN make\nFROM base\nCOPY --from=one /a /b /d/\n"
    build = explored(text, [[], [file("a"), file("b")]], [[], [file("d/a"), file("d/b")]])
    assert [step.path for step in history(build, 1, "d/b")] == ["d/b", "b"]


def test_what_the_engine_told_of_a_copy_counts_more_than_its_words(
    explored: Callable[..., Exploration],
) -> None:
    text = "FROM base AS one\nRUN make\nFROM base\nCOPY --from=one $OUT .\n"
    build = explored(text, [[], MADE], [[], [file("home/index.js")]])
    build = replace(build, copies={Point(1, 1): CopyPaths(("/out/b",), "/home/")})
    assert history(build, 1, "home/index.js") == (
        FileStep(1, 1, "home/index.js"),
        FileStep(0, 1, "out/b/index.js"),
    )


def test_each_run_that_changed_a_file_is_on_its_way(explored: Callable[..., Exploration]) -> None:
    text = "FROM a AS one\nRUN w\nFROM a\nCOPY --from=one /n /n\nRUN w\nRUN w\nRUN other\n"
    states = [[Entry("n", "file", size=size)] for size in (1, 2, 3)]
    build = explored(text, [[], states[0]], [[], *states, states[2]])
    way = (FileStep(1, 3, "n"), FileStep(1, 2, "n"), FileStep(1, 1, "n"), FileStep(0, 1, "n"))
    assert history(build, 1, "n") == way


@pytest.mark.engine
def test_a_base_image_s_folder_and_variables_count_in_a_copy(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    base, project = tmp_path / "base", tmp_path / "project"
    for folder, text in (
        (base, "FROM diamol/base\nENV FROM_HERE=/out/b\nWORKDIR /home/app\n"),
        (
            project,
            f"FROM {unique}-base AS one\nRUN mkdir -p /out/a /out/b && echo 1 | tee /out/a/x > /out/b/x\n"
            f"FROM {unique}-base\nCOPY --from=one $FROM_HERE lib\n",
        ),
    ):
        folder.mkdir()
        (folder / "Dockerfile").write_text(text)
    stagelens.build(base, engine=engine, tags=[f"{unique}-base"])
    trace = stagelens.build(project, engine=engine, tags=[f"{unique}:x"])
    way = (FileStep(1, 1, "home/app/lib/x"), FileStep(0, 1, "out/b/x"))
    for _ in range(2):  # asked, then known
        found = stagelens.explore(project, trace, engine=engine, cache_folder=tmp_path / "kept")
        assert history(found, 1, "home/app/lib/x") == way
        assert destinations(found, "one", "out/a/x") == ()


def test_where_a_base_image_says_the_folder_a_name_that_is_there_once_will_do(
    explored: Callable[..., Exploration],
) -> None:
    text = "FROM base AS one\nRUN make\nFROM base\nCOPY --from=one /out .\n"
    build = explored(text, [[], [file("out/app"), *MADE]], [[], [file("home/app"), file("home/index.js")]])
    assert history(build, 1, "home/app") == (FileStep(1, 1, "home/app"), FileStep(0, 1, "out/app"))
    assert history(build, 1, "home/index.js") == (FileStep(1, 1, "home/index.js"),)
