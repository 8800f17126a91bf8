"""Verdicts on builds made by hand: each cause is found, named, and led back to where it began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from stagelens.builds import BuildTrace, Vertex
from stagelens.cache import (
    Base,
    BuildRecord,
    ContextFile,
    Inputs,
    Prediction,
    StepVerdict,
    explain,
    forecast,
    mark,
    questions,
)
from stagelens.cache.align import align
from stagelens.cache.steps import read_steps
from stagelens.dockerfile import parse

DOCKERFILE = """\
ARG VERSION=1
FROM tools AS builder
ARG VERSION
ARG UNUSED=x
WORKDIR /src
COPY pom.xml .
RUN fetch
COPY . .
RUN make
FROM small
ENV PORT=80
WORKDIR /app
COPY --from=builder /src/app .
RUN chmod +x app
"""
POM, FETCH, ALL, MAKE, APP, CHMOD = 6, 7, 8, 9, 13, 14
FILES = {"pom.xml": "p", "src/main.java": "m", "src/other.java": "o", "notes.txt": "n"}


def inputs(text: str = DOCKERFILE, files: Mapping[str, str] = FILES, **other: Any) -> Inputs:
    entries = {path: ContextFile(path, "file", 0o644, len(body), body) for path, body in files.items()}
    bases = {name: Base(name, f"layers of {name}", {"PATH": "/bin"}) for name in ("tools", "small")}
    args = other.get("build_args", {})
    return replace(Inputs(parse(text, build_args=args), entries, bases), **other)


def built(made_from: Inputs, *ran: int, without: tuple[int, ...] = ()) -> BuildRecord:
    """A build in which the steps of these lines ran and the others came from the cache."""
    vertices = tuple(
        Vertex(
            f"v{question.line}",
            question.title,
            cached=question.line not in ran,
            started=1.0,
            completed=2.0,
            stage=question.stage,
            instruction=question.instruction,
        )
        for question in questions(made_from)
        if question.line not in without
    )
    return BuildRecord(made_from, BuildTrace(made_from.dockerfile, vertices, "session", "sha256:1"))


FIRST = built(inputs(), 5, POM, FETCH, ALL, MAKE, 12, APP, CHMOD)


def verdicts(after: BuildRecord, before: BuildRecord | None = FIRST) -> dict[int, StepVerdict]:
    return {verdict.line: verdict for verdict in explain(before, after)}


def kinds(verdict: StepVerdict) -> list[str]:
    return [cause.kind for cause in verdict.causes]


def test_there_is_a_verdict_for_each_step_and_none_for_settings() -> None:
    assert list(verdicts(FIRST)) == [5, POM, FETCH, ALL, MAKE, 12, APP, CHMOD]


def test_a_build_of_the_same_comes_from_the_cache() -> None:
    found = verdicts(built(inputs())).values()
    assert {verdict.outcome for verdict in found} == {"cached"}
    assert {verdict.causes for verdict in found} == {()}
    assert {verdict.why for verdict in found} == {"Nothing that this step depends on has changed."}


def test_a_changed_file_is_named_and_what_follows_leads_back_to_it() -> None:
    after = inputs(files=FILES | {"src/main.java": "edited"})
    found = verdicts(built(after, ALL, MAKE, APP, CHMOD))
    assert found[FETCH].outcome == "cached"
    assert found[ALL].files == ("src/main.java",)
    assert found[ALL].why == "src/main.java has other content."
    assert kinds(found[MAKE]) == ["input"]
    assert found[MAKE].why == (
        "It builds on line 8 (COPY . .), which ran again: src/main.java has other content."
    )
    assert kinds(found[APP]) == ["stage"]
    assert found[APP].root == found[ALL].key
    assert found[CHMOD].root == found[ALL].key
    assert "src/main.java" in found[CHMOD].why


def test_same_files_from_a_stage_that_ran_again_keep_the_copy_cached() -> None:
    after = inputs(files=FILES | {"notes.txt": "edited"})
    found = verdicts(built(after, ALL, MAKE))
    assert found[APP].outcome == "cached"
    assert found[APP].why == "Stage builder ran again and gave the same files, so the copy stayed cached."
    assert found[CHMOD].why == "What it builds on came from the cache, and so did this step."


def test_two_changed_files_are_told_of_the_step_that_takes_each() -> None:
    after = inputs(files=FILES | {"pom.xml": "edited", "notes.txt": "edited"})
    found = verdicts(built(after, POM, FETCH, ALL, MAKE, APP, CHMOD))
    assert found[POM].files == ("pom.xml",)
    assert found[ALL].files == ("notes.txt", "pom.xml")
    assert kinds(found[ALL]) == ["files", "input"]
    assert "2 files have other content: notes.txt, pom.xml." in found[ALL].why


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (FILES | {"new": "x"}, "new is new."),
        (
            {k: v for k, v in FILES.items() if k != "notes.txt"},
            "notes.txt is no longer in the build context.",
        ),
        (FILES | {f"f{i}": "x" for i in range(5)}, "5 files are new: f0, f1, f2 and 2 more."),
    ],
)
def test_files_that_come_and_go_are_told(files: dict[str, str], why: str) -> None:
    assert verdicts(built(inputs(files=files), ALL, MAKE))[ALL].why == why


def test_permissions_and_types_of_files_count_and_stamps_do_not() -> None:
    same = inputs()
    pom = same.files["pom.xml"]
    for changed, word in ((replace(pom, mode=0o755), "permissions"), (replace(pom, kind="other"), "type")):
        after = replace(same, files={**same.files, "pom.xml": changed})
        assert word in verdicts(built(after, POM, FETCH, ALL, MAKE))[POM].why
    touched = replace(same, files={**same.files, "pom.xml": replace(pom, stamp="later")})
    assert forecast(FIRST, touched)[1].expected == "cached"


def test_an_edited_instruction_is_told() -> None:
    found = verdicts(built(inputs(DOCKERFILE.replace("fetch", "fetch --all")), FETCH, ALL, MAKE))
    assert kinds(found[FETCH]) == ["instruction"]
    assert found[ALL].root == found[FETCH].key


def test_layout_and_comments_are_no_edit() -> None:
    text = DOCKERFILE.replace("COPY pom.xml .", "# the list\nCOPY   pom.xml   \\\n  .")
    assert {step.expected for step in forecast(FIRST, inputs(text))} == {"cached"}


def test_a_new_line_is_new_and_a_removed_one_changes_the_order() -> None:
    more = verdicts(built(inputs(DOCKERFILE.replace("RUN make", "RUN lint\nRUN make")), 9, 10))
    assert kinds(more[9]) == ["new"]
    assert kinds(more[10]) == ["input"]
    less = verdicts(built(inputs(DOCKERFILE.replace("RUN fetch\n", "")), 7, 8))
    assert kinds(less[7]) == ["order"]


def test_a_build_argument_changes_every_run_after_its_arg() -> None:
    after = inputs(build_args={"VERSION": "2"})
    found = verdicts(built(after, FETCH, ALL, MAKE))
    assert found[POM].outcome == "cached"
    assert kinds(found[FETCH]) == ["build-arg"]
    assert found[FETCH].why == "The build argument VERSION has another value."
    assert kinds(found[ALL]) == ["input"]
    assert kinds(found[MAKE]) == ["build-arg", "input"]


def test_an_argument_that_no_arg_takes_changes_nothing() -> None:
    assert {step.expected for step in forecast(FIRST, inputs(build_args={"OTHER": "2"}))} == {"cached"}


def test_an_env_and_a_user_are_told_with_their_lines() -> None:
    text = DOCKERFILE.replace("ENV PORT=80", "ENV PORT=81").replace("RUN chmod", "USER 7\nRUN chmod")
    found = verdicts(built(inputs(text), 15))
    assert found[APP].outcome == "cached"
    assert [(c.kind, c.names, c.line) for c in found[15].causes] == [
        ("variable", ("PORT",), 11),
        ("setting", ("USER",), 14),
    ]


def test_another_base_image_is_told_of_the_first_step_on_it() -> None:
    same = inputs()
    after = replace(same, bases={**same.bases, "small": Base("small", "other layers", {"PATH": "/bin"})})
    found = verdicts(built(after, 12, APP, CHMOD))
    assert found[12].why == "The base image small (line 10) is another than before."
    assert found[APP].root == found[12].key


def test_the_same_layers_under_another_name_are_the_same_base() -> None:
    same = inputs(DOCKERFILE.replace("FROM small", "FROM little"))
    after = replace(same, bases={**same.bases, "little": Base("little", "layers of small", {"PATH": "/bin"})})
    assert {step.expected for step in forecast(FIRST, after)} == {"cached"}


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"no_cache": True}, "no-cache"), ({"engine": "another"}, "engine"), ({"network": "none"}, "network")],
)
def test_how_the_build_was_asked_for_is_told(change: dict[str, Any], kind: str) -> None:
    found = verdicts(built(inputs(**change), 5, POM, FETCH, ALL, MAKE, 12, APP, CHMOD))
    assert kind in kinds(found[FETCH])


def test_without_an_earlier_build_everything_is_the_first() -> None:
    found = verdicts(FIRST, None)
    assert kinds(found[POM]) == ["first"]
    known = verdicts(built(inputs()), None)
    assert known[POM].why == "The engine knew this very step on the same files already, from another build."


def test_a_step_that_an_earlier_build_did_not_reach_is_told() -> None:
    failed = built(inputs(), 5, POM, FETCH, without=(ALL, MAKE, 12, APP, CHMOD))
    found = verdicts(built(inputs(), ALL, MAKE, 12, APP, CHMOD), failed)
    assert found[FETCH].outcome == "cached"
    assert kinds(found[ALL]) == ["unfinished"]
    reached = verdicts(failed, FIRST)
    assert reached[MAKE].outcome == "not reached"


def test_what_nothing_explains_is_said_to_be_dropped() -> None:
    found = verdicts(built(inputs(), POM, FETCH, ALL, MAKE))
    assert kinds(found[POM]) == ["dropped"]
    assert "no longer has its result" in found[POM].why


def test_what_a_dropped_stage_gives_again_leads_back_to_it() -> None:
    other = verdicts(built(inputs(), POM, FETCH, ALL, MAKE, APP))
    assert kinds(other[APP]) == ["stage"]
    assert other[APP].root == other[POM].key
    same = verdicts(built(inputs(), POM, FETCH, ALL, MAKE))
    assert "ran again and gave the same files" in same[APP].why


def test_a_result_from_before_the_last_build_is_said_to_be_known() -> None:
    found = verdicts(built(inputs(files=FILES | {"pom.xml": "as it once was"})))
    assert found[POM].outcome == "cached"
    assert "still knows this result" in found[POM].why


def test_equal_steps_of_two_stages_run_once_and_have_one_answer() -> None:
    text = "FROM small AS a\nWORKDIR /w\nFROM small AS b\nWORKDIR /w\nCOPY --from=a /w /x\n"
    found = verdicts(built(inputs(text), 2, 5, without=(4,)), None)
    assert found[4].outcome == found[2].outcome == "ran"


def test_stages_that_the_target_does_not_need_have_no_verdict() -> None:
    assert list(verdicts(built(inputs(target="builder")), None)) == [5, POM, FETCH, ALL, MAKE]


def test_the_forecast_tells_what_depends_on_a_result() -> None:
    told = {f.line: f for f in forecast(FIRST, inputs(files=FILES | {"src/main.java": "edited"}))}
    expected = {line: step.expected for line, step in told.items()}
    assert expected == {
        5: "cached",
        POM: "cached",
        FETCH: "cached",
        ALL: "runs",
        MAKE: "runs",
        12: "cached",
        APP: "depends",
        CHMOD: "depends",
    }
    assert told[APP].why == (
        "Stage builder runs again from line 8 (COPY . .): src/main.java has other content. "
        "If that gives the same files, this copy stays cached."
    )
    assert (
        told[CHMOD].why == "It builds on line 13 (COPY --from=builder /src/app .), and is cached if that is."
    )


def test_a_prediction_is_marked_step_by_step() -> None:
    after = inputs(files=FILES | {"src/main.java": "edited"})
    prediction = Prediction.of_lines(after, [MAKE])
    marked = mark(prediction, FIRST, built(after, ALL, MAKE))
    wrong = [row.verdict.line for row in marked.rows if not row.right]
    assert (marked.score, marked.total, wrong) == (7, 8, [ALL])
    assert "src/main.java has other content." in str(marked)


def test_without_marks_nothing_is_right_and_nothing_breaks() -> None:
    assert mark(Prediction(), FIRST, built(inputs())).score == 0


def test_a_download_is_told_as_something_only_the_build_can_compare() -> None:
    text = "FROM small\nADD http://example.test/file /f\n"
    before = built(inputs(text), 2)
    (told,) = forecast(before, inputs(text))
    assert told.expected == "depends"
    assert "http://example.test/file" in told.why
    assert [cause.kind for cause in verdicts(before, before)[2].causes] == ["remote"]


def test_another_image_may_hold_the_same_file() -> None:
    text = "FROM small\nCOPY --from=tools /bin/make /bin\n"
    now = inputs(text)
    after = replace(now, bases={**now.bases, "tools": Base("tools", "other layers")})
    (told,) = forecast(built(now, 2), after)
    assert told.expected == "depends"
    assert told.why.endswith("If that gives the same files, this copy stays cached.")
    (cached,) = explain(built(now, 2), built(after))
    assert cached.why.endswith("But what is taken from it is the same.")
    (ran,) = explain(built(now, 2), built(after, 2))
    assert kinds(ran) == ["image"]


def test_what_a_base_image_adds_is_told_where_nothing_else_explains_a_run() -> None:
    now = inputs("FROM tools\nRUN make\n")
    now = replace(now, bases={"tools": Base("tools", "layers", triggers=("COPY . /src", "RUN fetch"))})
    first = built(now, 2)
    (told,) = forecast(first, now)
    assert told.expected == "depends"
    (ran,) = explain(first, built(now, 2))
    assert ran.why.startswith("tools (line 1) brings instructions along (ONBUILD)")
    (cached,) = explain(first, built(now))
    assert cached.why == "Nothing that this step depends on has changed."


def test_a_stage_is_known_again_under_another_name_and_in_another_place() -> None:
    text = DOCKERFILE.replace("builder", "maker").replace(
        "FROM tools", "FROM small AS new\nRUN new\nFROM tools"
    )
    assert {step.expected for step in forecast(FIRST, inputs(text))} == {"cached"}


def test_a_platform_that_is_not_known_is_not_compared() -> None:
    first = built(inputs(), 5, POM, FETCH, ALL, MAKE, 12, APP, CHMOD)
    assert {step.expected for step in forecast(first, inputs(platform="linux/amd64"))} == {"cached"}
    amd = built(inputs(platform="linux/amd64"), 5, POM, FETCH, ALL, MAKE, 12, APP, CHMOD)
    assert {step.expected for step in forecast(amd, inputs(platform="linux/arm64"))} == {"runs"}


def test_a_stranger_s_names_do_not_act_on_the_terminal() -> None:
    text = "FROM tools\nCOPY . /\nRUN echo '\x1b[2J\u202e'\n"
    before = built(inputs(text, {"a": "1"}))
    now = inputs(text, {"a": "1", "b\x1b[2J\n\udcff": "2"})
    after = built(now, 2, 3)
    step, run = explain(before, after)
    assert str(step).endswith("b\\u{1b}[2J\\u{a}\\xff is new.")
    rows = [*explain(before, after), *forecast(before, now), mark(Prediction(), before, after)]
    for row in rows:
        assert str(row).isascii()
        assert "\x1b" not in str(row)
    assert "\\u{1b}[2J\\u{202e}" in str(run)


def test_what_only_a_run_or_nothing_depends_on_leaves_other_steps_cached() -> None:
    def runs(now: Inputs, before: BuildRecord = FIRST) -> list[int]:
        return [step.line for step in forecast(before, now) if step.expected == "runs"]

    assert runs(inputs(network="host")) == [FETCH, ALL, MAKE, CHMOD]
    assert runs(inputs(no_cache=True)) == [POM, FETCH, ALL, MAKE, APP, CHMOD], "each but the WORKDIRs"
    text = "FROM tools\nENV A=1\nCOPY ${A:+notes.txt} /\n"
    before = built(inputs(text), 3)
    assert runs(inputs(text.replace("A=1", "A=2")), before) == [], "its words are the same"


def test_an_edited_step_says_no_more_than_that_it_was_edited() -> None:
    text = DOCKERFILE.replace("chmod", "chmod -v")
    found = {step.line: step for step in forecast(FIRST, inputs(text, FILES | {"notes.txt": "edited"}))}
    assert [cause.kind for cause in found[APP].causes] == ["stage"]
    assert [cause.kind for cause in found[CHMOD].causes] == ["instruction"]


def test_several_changes_of_several_kinds_are_told_as_changes() -> None:
    files = {path: text for path, text in FILES.items() if path != "notes.txt"} | {"new": "n"}
    assert (
        verdicts(built(inputs(files=files), ALL, MAKE, APP, CHMOD))[ALL].why
        == "2 files changed: new, notes.txt."
    )


def test_edited_steps_keep_their_order() -> None:
    old, new = (
        parse("FROM tools\nRUN one\nCOPY a /\nRUN two\n"),
        parse("FROM tools\nCOPY b /\nRUN three\n"),
    )
    pairs = align({0: 0}, read_steps(Inputs(old, {}, {})), read_steps(Inputs(new, {}, {})))
    assert {key[1] + 1: step.line for key, step in pairs.items()} == {2: 3, 3: 4}
