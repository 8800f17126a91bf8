"""Files of every stage, listed by a probe on a real engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import stagelens
from stagelens.buildkit import Gateway
from stagelens.buildkit.proto.buildkit_pb2 import Definition
from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens.snapshot import Entry, explore, history, read_file
from stagelens.snapshot.layers import read_layers
from stagelens_course.images import ensure

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
    """A WORKDIR that leads to the root makes no step; a trigger is a step of the FROM that runs it."""
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
    assert names["RUN touch /t"] == (1, 0)


@pytest.mark.engine
def test_stages_are_listed_without_any_image(
    engine: Engine, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library sends its own tools; an engine without images and registries is enough."""
    text = "FROM scratch AS one\nCOPY a /a\nFROM scratch\nCOPY --from=one /a /b\n"
    (tmp_path / "Dockerfile").write_text(text)
    (tmp_path / "a").write_text(unique)
    solved: list[bytes] = []
    solve = Gateway.solve

    def noted(gateway: Gateway, definition: Definition) -> str:
        solved.append(definition.SerializeToString())
        return solve(gateway, definition)

    monkeypatch.setattr(Gateway, "solve", noted)
    lens = stagelens.explore(tmp_path, engine=engine)
    assert [[entry.path for entry in files.final] for files in lens.stages] == [["a"], ["b"]]
    assert read_file(lens, 1, None, "b").text == unique
    assert len(solved) == 5, "the tools and two stages, the tools and the file's stage"
    assert not [definition for definition in solved if b"docker-image:" in definition]


@pytest.mark.engine
def test_two_explorations_at_once_see_their_own_stages(engine: Engine, tmp_path: Path, unique: str) -> None:
    contexts = [tmp_path / name for name in ("one", "two", "three")]
    for context in contexts:
        context.mkdir()
        (context / "Dockerfile").write_text("FROM scratch\nCOPY . /x\n")
        (context / unique).write_text(context.name)
    with ThreadPoolExecutor(3) as threads:
        lenses = list(threads.map(lambda context: stagelens.explore(context, engine=engine), contexts))
        texts = list(threads.map(lambda lens: read_file(lens, 0, None, f"x/{unique}").text, lenses))
    assert texts == ["one", "two", "three"]


@pytest.mark.engine
def test_engine_of_an_unknown_platform_is_a_clear_error(engine: Engine, tmp_path: Path, unique: str) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /x\n")
    (tmp_path / "a").write_text(unique)
    trace = stagelens.build(tmp_path, engine=engine)
    strange = replace(engine, info=replace(engine.info, architecture="loong64"))
    with pytest.raises(StagelensError, match="platform is linux/loong64"):
        explore(strange, tmp_path, trace, cache_folder=tmp_path / "keep")


@pytest.mark.engine
def test_exploring_leaves_no_image_and_no_container(engine: Engine, tmp_path: Path, unique: str) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /x\n")
    (tmp_path / "a").write_text(unique)
    trace = stagelens.build(tmp_path, engine=engine)

    def things() -> set[str]:
        rows = [*engine.api.images(all=True), *engine.api.containers(all=True)]
        return {row["Id"] for row in rows}

    for number in range(20):
        before = things()
        read_file(explore(engine, tmp_path, trace, cache_folder=tmp_path / str(number)), 0, None, "x/a")
        if things() <= before:
            return  # on a shared engine others make things now and then, but not each time
    pytest.fail("exploring leaves something")
