"""Files of every stage, listed by a probe on a real engine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest
from stagelens_testing.cutter import Cutter

import stagelens
from stagelens.buildkit import ConnectionLost
from stagelens.engine import Engine, connect
from stagelens.errors import StagelensError
from stagelens.images import ensure
from stagelens.snapshot import Entry, ProbeFailed, explore, history, known, prober, read_file
from stagelens.snapshot.layers import read_layers
from stagelens.snapshot.table import FileTable
from stagelens.snapshot.walk import Listed, Lister, make_tables
from stagelens.snapshot.walk import walk as real_walk

EXERCISES = Path(__file__).parents[2] / "ch04/exercises"
CHAPTER = EXERCISES / "multi-stage"


@pytest.mark.engine
def test_the_chapters_stages_and_what_each_instruction_changed(engine: Engine) -> None:
    trace = stagelens.build(CHAPTER, engine=engine)
    lens = explore(engine, CHAPTER, trace)
    assert [files.stage.label for files in lens.stages] == ["build-stage", "test-stage", "stage-2"]
    build, test, final = lens.stages
    assert [e.path for e in build.changes(1).added] == ["build.txt"]
    assert [e.path for e in test.changes(1).added] == ["build.txt"]
    assert [after.path for _, after in test.changes(2).changed] == ["build.txt"]
    assert not final.changes(2), "CMD changes no files"
    entry = final.final.get("build.txt")
    assert entry is not None
    assert (entry.kind, entry.mode, entry.uid, entry.size) == (
        "file",
        0o644,
        0,
        len("Building...\nTesting...\n"),
    )


@pytest.mark.engine
def test_a_file_is_followed_to_where_it_was_made(engine: Engine) -> None:
    lens = explore(engine, CHAPTER, stagelens.build(CHAPTER, engine=engine))
    way = [(step.stage, step.instruction) for step in history(lens, 2, "build.txt")]
    assert way == [(2, 1), (1, 2), (1, 1), (0, 1)]
    assert history(lens, 2, "not/there") == ()
    first = history(lens, 2, "bin/busybox")[0]
    assert (first.stage, first.instruction) == (2, 0)


@pytest.mark.engine
def test_content_of_earlier_stages_on_demand(engine: Engine) -> None:
    lens = explore(engine, CHAPTER, stagelens.build(CHAPTER, engine=engine))
    assert read_file(lens, "build-stage", None, "/build.txt").text == "Building...\n"
    assert read_file(lens, "test-stage", 1, "build.txt").text == "Building...\n"
    assert read_file(lens, "test-stage", 2, "build.txt").text == "Building...\nTesting...\n"
    binary = read_file(lens, 2, None, "bin/busybox")
    assert binary.binary
    assert binary.truncated
    assert len(binary.data) == 64 * 1024
    with pytest.raises(StagelensError, match="no file"):
        read_file(lens, 2, None, "nope")
    with pytest.raises(StagelensError, match="dir"):
        read_file(lens, 2, None, "etc")


@pytest.mark.engine
def test_hostile_names_owners_modes_and_links(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM diamol/base AS nasty\n"
        'RUN mkdir /d && cd /d && printf x > "$(printf \'new\\nline\')" && printf y > "it\'s" \\\n'
        "  && printf z > \"$(printf '\\377raw')\" \\\n"
        '  && ln -s "$(printf "a\'\\n\'b")" odd \\\n'
        "  && ln -s /etc/passwd to && mkfifo pipe \\\n"
        '  && chmod 4755 "it\'s" && chown 7:8 to -h && mkdir -m 1777 sticky\n'
        "RUN mkdir -p \"/d/$(printf 'x\\201\\n\\047 y')/-n\"\n"
        "RUN touch \"/d/$(printf 'x\\201\\n\\047 y')/-n/f\"\n"
        "FROM scratch\nCOPY --from=nasty /d /e\nWORKDIR /w\n"
    )
    trace = stagelens.build(tmp_path, engine=engine, tags=[f"{unique}:x"])
    lens = explore(engine, tmp_path, trace)
    files = {e.path: e for e in lens.stage("nasty").changes(1).added}
    assert files["d/new\nline"].size == 1
    assert (files["d/it's"].mode, files["d/it's"].kind) == (0o4755, "file")
    assert "d/\udcffraw" in files
    assert files["d/odd"].link_target == "a'\n'b"
    assert (files["d/to"].link_target, files["d/to"].uid, files["d/to"].gid) == ("/etc/passwd", 7, 8)
    assert files["d/pipe"].kind == "fifo"
    assert files["d/sticky"].mode == 0o1777
    assert [e.path for e in lens.stage("nasty").changes(3).added] == ["d/x\udc81\n' y/-n/f"]
    assert read_file(lens, "nasty", None, "d/x\udc81\n' y/-n/f").size == 0
    assert read_file(lens, "nasty", None, "d/new\nline").text == "x"
    assert read_file(lens, "nasty", None, "d/\udcffraw").text == "z"
    final = lens.stages[-1]
    assert len(final.tables[0]) == 0, "scratch has no files"
    assert final.final.get("w") is not None
    assert {e.path for e in final.changes(1).added} >= {"e", "e/it's"}


@pytest.mark.engine
@pytest.mark.parametrize("exercise", ["multi-stage", "image-of-the-day", "access-log", "image-gallery"])
def test_probe_and_saved_layers_agree(engine: Engine, unique: str, clean: object, exercise: str) -> None:
    """On every build of the chapter: what the probe lists is what `docker save` hands over."""
    ensure(engine)
    trace = stagelens.build(EXERCISES / exercise, engine=engine, tags=[f"{unique}:x"])
    probed = {e.path: e for e in explore(engine, EXERCISES / exercise, trace).stages[-1].final}
    assert trace.image_id is not None
    image = read_layers(engine.api, trace.image_id, None)
    saved = {e.path: e for e in image.files_at(len(image.layers) - 1)}
    # The engine makes these mount points when a container runs, the probe included.
    assert {path for path in probed if path not in saved} <= {"dev", "etc", "proc", "sys"}
    assert saved.keys() <= probed.keys()
    wrong = [
        (entry, probed[path]) for path, entry in saved.items() if compared(entry) != compared(probed[path])
    ]
    assert not wrong


def compared(entry: Entry) -> tuple[object, ...]:
    """All that is known of a file; of a folder not its size and time, which the file system makes."""
    facts = (entry.kind, entry.mode, entry.uid, entry.gid, entry.link_target)
    return facts if entry.kind == "dir" else (*facts, entry.size, entry.mtime)


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
    monkeypatch.setattr(known, "_MAX_TABLES", 0)
    monkeypatch.setattr(known, "_recent", known._Recent())  # pyright: ignore[reportPrivateUsage]
    seen: list[Mapping[int, int | None]] = []

    def walk(
        lister: Lister, workers: Executor, wanted: Mapping[int, int | None], *rest: Any
    ) -> dict[int, Listed]:
        seen.append(wanted)
        return real_walk(lister, workers, wanted, *rest)

    monkeypatch.setattr(prober, "walk", walk)
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
        explore(engine, context, stagelens.build(context, engine=engine), keep=keep)
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
    monkeypatch.setattr(known, "_MAX_TABLES", 0)
    (tmp_path / "Dockerfile").write_text(NASTY.replace("echo 1", f"echo {unique}"))
    trace = stagelens.build(tmp_path, engine=engine)
    quick = explore(engine, tmp_path, trace, keep=tmp_path / "quick").stages

    def walk(lister: Lister, workers: Executor, wanted: Iterable[int], *_: object) -> dict[int, Listed]:
        return real_walk(lister, workers, dict.fromkeys(wanted))

    def tables(listed: Mapping[int, Listed], wanted: Iterable[int], _: object) -> dict[int, FileTable]:
        return make_tables(listed, dict.fromkeys(wanted), {})

    monkeypatch.setattr(prober, "walk", walk)
    monkeypatch.setattr(prober, "make_tables", tables)
    here = explore(engine, tmp_path, trace, keep=tmp_path / "here").stages
    monkeypatch.setattr(prober, "HostLayers", lambda shells, _: shells)  # pyright: ignore[reportUnknownLambdaType]
    there = explore(engine, tmp_path, trace, keep=tmp_path / "there").stages
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


@pytest.mark.engine
def test_twenty_stages_are_listed_even_by_a_busy_engine(engine: Engine, tmp_path: Path, unique: str) -> None:
    stages = [f"FROM diamol/base AS s{n}\nRUN echo {unique} {n} > /f\n" for n in range(19)]
    copies = [f"COPY --from=s{n} /f /f{n}\n" for n in range(19)]
    (tmp_path / "Dockerfile").write_text("".join([*stages, "FROM scratch\n", *copies]))
    lens = explore(engine, tmp_path, stagelens.build(tmp_path, engine=engine))
    assert [len(files.final) for files in lens.stages] == [len(lens.stages[0].final)] * 19 + [19]


@pytest.mark.engine
def test_stages_that_are_the_same_step_by_step_are_all_listed(
    engine: Engine, tmp_path: Path, unique: str
) -> None:
    twins = "".join(f"FROM diamol/base AS {name}\nRUN echo {unique} > /f\n" for name in "abcdef")
    copies = "".join(f"COPY --from={name} /f /{name}\n" for name in "abcdef")
    (tmp_path / "Dockerfile").write_text(f"{twins}FROM scratch\n{copies}")
    lens = explore(engine, tmp_path, stagelens.build(tmp_path, engine=engine))
    assert [len(files.changes(1).added) for files in lens.stages] == [1] * 7


@pytest.mark.engine
def test_steps_without_a_number_and_numbers_without_a_step_confuse_no_listing(
    engine: Engine, tmp_path: Path, unique: str
) -> None:
    """A WORKDIR that leads to the root makes no step; a trigger is one that the stage has not."""
    (tmp_path / "Dockerfile").write_text(
        f"FROM diamol/base AS a\nONBUILD RUN touch /t\nWORKDIR /\nRUN echo {unique} > a\n"
        "FROM a AS b\nWORKDIR /w\nWORKDIR ..\nRUN touch b\n"
        "FROM scratch\nCOPY --from=b /b /\nWORKDIR /proc/not/there\n"
    )
    trace = stagelens.build(tmp_path, engine=engine)
    found = {
        (files.stage.label, i.keyword): sorted(entry.path for entry in files.changes(i).added)
        for files in explore(engine, tmp_path, trace).stages
        for i in files.stage.instructions[1:]
        if i.keyword in ("RUN", "COPY")
    }
    assert found == {("a", "RUN"): ["a"], ("b", "RUN"): ["b"], ("stage-2", "COPY"): ["b"]}
    names = {v.name.partition("] ")[2]: (v.stage, v.instruction) for v in trace.vertices}
    assert (names[f"RUN echo {unique} > a"], names["RUN touch b"]) == ((0, 3), (1, 3))
    assert names["RUN touch /t"] == (None, None)


@pytest.mark.engine
def test_a_probe_that_fails_says_so_and_not_that_the_dockerfile_is_wrong(
    engine: Engine, tmp_path: Path, unique: str
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY x /x\n")
    (tmp_path / "x").write_text(unique)
    trace = stagelens.build(tmp_path, engine=engine)
    (tmp_path / "x").unlink()
    with pytest.raises(ProbeFailed, match="build the project again"):
        explore(engine, tmp_path, trace)


@pytest.mark.engine
def test_an_engine_that_is_gone_in_the_midst_of_a_probe_is_told_and_nothing_kept(
    engine: Engine, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, keep = tmp_path / "context", tmp_path / "keep"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM diamol/base\nRUN echo {unique} > /f\n")
    cutter = Cutter(tmp_path / "s", engine.address.removeprefix("unix://"))
    cut = connect(f"unix://{tmp_path}/s", start=False)

    def stop(*given: object) -> dict[int, Listed]:
        cutter.cut()
        return real_walk(*given)  # pyright: ignore[reportArgumentType]

    try:
        trace = stagelens.build(context, engine=cut)
        with monkeypatch.context() as patched:
            patched.setattr(prober, "walk", stop)
            with pytest.raises(ConnectionLost, match=r"engine (broke|closed the connection)"):
                explore(cut, context, trace, keep=keep)
        assert not keep.exists()
        with pytest.raises(StagelensError):
            explore(cut, context, trace, keep=keep)  # nor does the engine come back
    finally:
        cut.api.close()
        cutter.close()
    assert explore(engine, context, trace, keep=keep).stages[-1].final.get("f")


def told_as_nobody(work: Callable[[], object]) -> str:
    """What a user without rights is told who does this: a StagelensError's words, or "fine"."""
    near, far = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgid(65534)
            os.setuid(65534)
            work()
            told = "fine"
        except StagelensError as error:
            told = error.render()
        except BaseException as error:
            told = repr(error)
        os.write(far, told.encode())
        os._exit(0)
    os.close(far)
    with open(near, "rb") as answer:  # noqa: PTH123
        told = answer.read().decode()
    os.waitpid(child, 0)
    return told


@pytest.mark.engine
@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become somebody else")
def test_a_context_that_the_user_may_not_read_is_told_with_its_path(engine: Engine, unique: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        context = root / "context"
        (context / "hidden").mkdir(parents=True)
        (context / "hidden/a").write_text(unique)
        (context / "Dockerfile").write_text("FROM diamol/base\nCOPY . /in\n")
        for place in (root, *list(root.parents)[:-1]):
            place.chmod(place.stat().st_mode | 0o055)
        cutter = Cutter(root / "s", engine.address.removeprefix("unix://"))
        (root / "s").chmod(0o666)
        user = connect(f"unix://{root}/s", start=False)
        try:
            trace = stagelens.build(context, engine=user)
            user.api.close()

            def work() -> object:
                return explore(user, context, trace, keep=root / "keep")

            assert told_as_nobody(work) == "fine", "no right but to read is needed"
            (context / "hidden").chmod(0o700)
            told = told_as_nobody(work)
        finally:
            user.api.close()
            cutter.close()
    assert "cannot be read" in told
    assert "hidden" in told
    assert ".dockerignore" in told


@pytest.mark.engine
def test_nothing_is_made_in_the_engines_image_store(engine: Engine) -> None:
    trace = stagelens.build(CHAPTER, engine=engine)
    for _ in range(20):
        before = {row["Id"] for row in engine.api.images(all=True)}
        explore(engine, CHAPTER, trace)
        if {row["Id"] for row in engine.api.images(all=True)} <= before:
            return  # on a shared engine others make images now and then, but not each time
    pytest.fail("exploring makes an image")
