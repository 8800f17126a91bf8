"""The probe's Dockerfile, without an engine: it must say to the engine what the original says."""

from __future__ import annotations

import re

import pytest

from stagelens.dockerfile import Dockerfile, parse
from stagelens.snapshot.split import Plan, Point, plan, single

IMAGE = "diamol/base"


def planned(text: str, *stages: int) -> tuple[Plan, Dockerfile]:
    dockerfile = parse(text)
    made = plan(dockerfile, stages or dockerfile.needed(), IMAGE)
    return made, parse(made.text)


def listers(made: Plan) -> list[str]:
    """What the listing steps run, without the names of the stages that they mount."""
    runs = re.findall(r"^RUN (--mount=type=bind,from=stagelens.*)$", made.text, re.MULTILINE)
    return [re.sub(r"from=[a-z0-9]+", "", run) for run in runs]


def stage_of(made: Plan, point: Point) -> str:
    """The name of the stage that repeats a stage up to a point."""
    return "stagelens" + made.folders[point].replace("/", "x")


def test_the_original_stays_at_the_top_and_each_point_repeats_its_stage() -> None:
    text = "ARG v=1\nFROM a:$v AS one\nARG x=2\nRUN echo $x\nENV y=3\nCOPY b c\nFROM one\nWORKDIR /w\n"
    made, probe = planned(text)
    assert made.text.startswith(text)
    assert [stage.name for stage in probe.stages[:2]] == ["one", None]
    copy = probe.stage(stage_of(made, Point(0, 4)))
    assert [i.source for i in copy.instructions[1:]] == ["ARG x=2", "RUN echo $x", "ENV y=3", "COPY b c"]
    assert copy.base == "a:1"
    assert made.folders[Point(1, 0)] == made.folders[Point(0, 4)], "FROM one begins with its files"
    assert probe.stages[-1].name == made.target
    assert set(probe.needed(made.target)) > {probe.stage(made.target).index}


def test_an_image_is_listed_once_and_scratch_not_at_all() -> None:
    made, _ = planned("FROM a AS x\nRUN 1\nFROM a AS y\nCOPY --from=x / /\nFROM scratch\nCOPY --from=y / /\n")
    assert made.folders[Point(0, 0)] == made.folders[Point(1, 0)]
    assert made.folders[Point(2, 0)] == ""
    assert len(listers(made)) == 4


def test_a_long_stage_is_listed_in_steps_so_that_an_edit_at_its_end_lists_little_anew() -> None:
    lines = [f"RUN {number}" for number in range(10)]
    before, _ = planned("\n".join(["FROM a", *lines]))
    assert [len(set(before.folders)), len(listers(before))] == [11, 4]
    after, _ = planned("\n".join(["FROM a", *lines[:-1], "RUN other"]))
    assert [text.count("list /o/") for text in (before.text, after.text)] == [4, 4]
    assert before.text.split("RUN 8")[0] == after.text.split("RUN 8")[0]


def test_a_listing_is_asked_for_in_the_same_words_whatever_stands_before_it() -> None:
    """Else a listing would be made anew after every edit above it."""
    short, _ = planned("FROM a\nRUN 1\n")
    long, _ = planned("FROM b AS new\nRUN 2\nFROM a\nRUN 1\n", 0, 1)
    assert len(set(listers(short) + listers(long))) == 1


@pytest.mark.parametrize(
    "ending",
    ["RUN x \\", "RUN x \\\n", "RUN x \\\n\n# done\n", "RUN x\n# done", "RUN x \\\r\n", "CMD <<E\\"],
)
def test_a_last_line_that_wants_to_go_on_takes_nothing_of_ours(ending: str) -> None:
    made, probe = planned(f"FROM a\n{ending}")
    own = probe.stages[0].instructions
    assert [i.keyword for i in own] == ["FROM", ending[:3]]
    assert own[1].arguments == parse(f"FROM a\n{ending}").stages[0].instructions[1].arguments
    assert probe.stage(made.target).instructions[1].keyword == "COPY"


def test_here_documents_come_along_to_the_letter() -> None:
    text = "FROM a\nCOPY <<-E /x\n\tone \\\n# no comment\n\tE\nRUN <<A <<B\n1\nA\n2\nB"
    made, probe = planned(text)
    last = probe.stage(stage_of(made, Point(0, 2)))
    assert [i.source for i in last.instructions[1:]] == [
        "COPY <<-E /x\n\tone \\\n# no comment\n\tE",
        "RUN <<A <<B\n1\nA\n2\nB",
    ]


def test_a_project_may_call_its_stages_as_we_do() -> None:
    made, probe = planned("FROM a AS stagelens0\nRUN 1\nFROM a AS stagelensresult\nRUN 2\n")
    names = [stage.name for stage in probe.stages]
    assert len(set(names)) == len(names)
    assert made.target not in ("stagelens0", "stagelensresult")


def test_a_single_point_for_a_file_s_content() -> None:
    made = single(parse("FROM a\nRUN 1\nRUN 2 \\"), Point(0, 1), IMAGE, "cat /m/x > /o/x")
    probe = parse(made.text)
    assert [i.source for i in probe.stage("stagelenspoint").instructions[1:]] == ["RUN 1"]
    assert probe.stages[-1].name == made.target
