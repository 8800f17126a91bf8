"""The probe's Dockerfile, without an engine: it must say to the engine what the original says."""

from __future__ import annotations

import re

import pytest

from stagelens.dockerfile import Dockerfile, parse
from stagelens.snapshot.split import Plan, Point, listed_points, plan, single, tips_of

IMAGE = "diamol/base"


def planned(text: str, *stages: int) -> tuple[Plan, Dockerfile]:
    dockerfile = parse(text)
    needed = stages or dockerfile.needed()
    tips = tips_of(dockerfile, needed)
    sources = listed_points(dockerfile, needed)
    ends = {source: tips[point.stage] for point, source in sources.items() if source}
    made = plan(dockerfile, dict.fromkeys(ends, ""), ends, IMAGE, "now")
    return made, parse(made.text)


def listers(made: Plan) -> list[str]:
    """What the listing steps run, without the names of the stages that they mount."""
    runs = re.findall(r"^RUN (--mount=type=bind,from=stagelens.*-print0.*)$", made.text, re.MULTILINE)
    return [re.sub(r"from=[a-z0-9]+", "", run) for run in runs]


def stage_of(made: Plan, point: Point) -> str:
    """The name of the stage that repeats a stage up to a point."""
    return "stagelens" + made.folders[point]


def test_the_original_stays_at_the_top_and_each_point_repeats_its_stage() -> None:
    text = "ARG v=1\nFROM a:$v AS one\nARG x=2\nRUN echo $x\nENV y=3\nCOPY b c\nFROM one\nWORKDIR /w\n"
    made, probe = planned(text)
    assert made.text.startswith(text)
    assert [stage.name for stage in probe.stages[:2]] == ["one", None]
    copy = probe.stage(stage_of(made, Point(0, 4)))
    assert [i.source for i in copy.instructions[1:]] == ["ARG x=2", "RUN echo $x", "ENV y=3", "COPY b c"]
    assert copy.base == "a:1"
    assert Point(1, 0) not in made.folders, "FROM one begins with its files"
    assert probe.stages[-1].name == made.target
    assert set(probe.needed(made.target)) > {probe.stage(made.target).index}


def test_an_image_is_listed_once_and_scratch_not_at_all() -> None:
    text = "FROM a AS x\nRUN 1\nFROM a AS y\nCOPY --from=x / /\nFROM scratch\nCOPY --from=y / /\n"
    made, _ = planned(text)
    sources = listed_points(parse(text), [0, 1, 2])
    assert sources[Point(1, 0)] == sources[Point(0, 0)] == Point(0, 0)
    assert sources[Point(2, 0)] is None
    assert len(listers(made)) == 4


def test_the_step_that_lists_a_point_stands_on_the_same_steps_as_its_mount() -> None:
    """Else BuildKit hashes all contents of the mount."""
    made, probe = planned("FROM a\nARG x\nCOPY b c\nUSER nobody\nRUN 1\n")
    name = stage_of(made, Point(0, 4))
    point, run = (probe.stage(each).instructions for each in (name, f"{name}run"))
    assert [i.source for i in run[1 : len(point)]] == [i.source for i in point[1:]]
    assert [i.keyword for i in run[len(point) :]] == ["USER", "WORKDIR", "ENV", "RUN"]
    assert run[-1].source in made.text
    assert f"from={name}," in run[-1].source


def test_each_chain_of_stages_tells_its_snapshots_once() -> None:
    dockerfile = parse("FROM a AS x\nRUN 1\nFROM x AS y\nRUN 2\nFROM b\nCOPY --from=y / /\nCMD c\n")
    assert tips_of(dockerfile, [0, 1, 2]) == {0: Point(1, 1), 1: Point(1, 1), 2: Point(2, 1)}
    made, _ = planned(dockerfile.text)
    assert set(made.tips.values()) == {"tip0", "tip1"}
    assert [made.text.count(f": nowtip{number};") for number in range(3)] == [1, 1, 0]


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
