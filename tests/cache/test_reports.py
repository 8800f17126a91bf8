"""Explain hand-made builds: find each cause, name it, and follow it back to its root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from stagelens.builds import BuildTrace, Vertex
from stagelens.cache import (
    BuildInputs,
    BuildRecord,
    ContextFile,
    InputImage,
    Prediction,
    StepReport,
    explain,
    forecast,
    mark_prediction,
    predictable_steps,
)
from stagelens.cache.comparison import match_steps
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


def inputs(text: str = DOCKERFILE, files: Mapping[str, str] = FILES, **other: Any) -> BuildInputs:
    entries = {path: ContextFile(path, "file", 0o644, len(body), body) for path, body in files.items()}
    bases = {name: InputImage(name, f"layers of {name}", {"PATH": "/bin"}) for name in ("tools", "small")}
    args = other.get("build_args", {})
    return replace(BuildInputs(parse(text, build_args=args), entries, bases), **other)


def built(made_from: BuildInputs, *ran: int, without: tuple[int, ...] = ()) -> BuildRecord:
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
        for question in predictable_steps(made_from)
        if question.line not in without
    )
    return BuildRecord(made_from, BuildTrace(made_from.dockerfile, vertices, "session", "sha256:1"))


FIRST = built(inputs(), 5, POM, FETCH, ALL, MAKE, 12, APP, CHMOD)


def reports(after: BuildRecord, before: BuildRecord | None = FIRST) -> dict[int, StepReport]:
    return {report.line: report for report in explain(before, after)}


def kinds(report: StepReport) -> list[str]:
    return [cause.kind for cause in report.causes]


def test_every_step_has_a_report_and_settings_have_none() -> None:
    assert list(reports(FIRST)) == [5, POM, FETCH, ALL, MAKE, 12, APP, CHMOD]


def test_unchanged_build_is_cached() -> None:
    found = reports(built(inputs())).values()
    assert {report.outcome for report in found} == {"cached"}
    assert {report.causes for report in found} == {()}
    assert {report.why for report in found} == {"Nothing that this step depends on has changed."}


def test_changed_file_is_the_root_of_all_later_runs() -> None:
    after = inputs(files=FILES | {"src/main.java": "edited"})
    found = reports(built(after, ALL, MAKE, APP, CHMOD))
    assert found[FETCH].outcome == "cached"
    assert found[ALL].files == ("src/main.java",)
    assert found[ALL].why == "src/main.java has different content."
    assert kinds(found[MAKE]) == ["input"]
    assert found[MAKE].why == (
        "It builds on line 8 (COPY . .), which ran again: src/main.java has different content."
    )
    assert kinds(found[APP]) == ["stage"]
    assert found[APP].root == found[ALL].key
    assert found[CHMOD].root == found[ALL].key
    assert "src/main.java" in found[CHMOD].why


def test_copy_of_identical_files_from_a_rerun_stage_stays_cached() -> None:
    after = inputs(files=FILES | {"notes.txt": "edited"})
    found = reports(built(after, ALL, MAKE))
    assert found[APP].outcome == "cached"
    assert found[APP].why == "Stage builder ran again and produced the same files, so the copy stayed cached."
    assert found[CHMOD].why == "The step that it builds on came from the cache, and so did this step."


def test_each_step_lists_the_changed_files_it_uses() -> None:
    after = inputs(files=FILES | {"pom.xml": "edited", "notes.txt": "edited"})
    found = reports(built(after, POM, FETCH, ALL, MAKE, APP, CHMOD))
    assert found[POM].files == ("pom.xml",)
    assert found[ALL].files == ("notes.txt", "pom.xml")
    assert kinds(found[ALL]) == ["files", "input"]
    assert "2 files have different content: notes.txt, pom.xml." in found[ALL].why


def test_first_cause_is_the_earliest_step_that_runs() -> None:
    files = FILES | {"pom.xml": "edited", "notes.txt": "edited"}
    text = (
        DOCKERFILE.replace("PORT=80", "PORT=81")
        .replace("app .", "app ./")
        .replace("COPY --from", "RUN x\nCOPY --from")
    )
    before = built(inputs(DOCKERFILE.replace("COPY --from", "RUN x\nCOPY --from")), *range(5, 16))
    after = built(inputs(text, files), POM, FETCH, ALL, MAKE, 13, 14, 15)
    for found in (reports(after, before), {step.line: step for step in forecast(before, after.inputs)}):
        assert found[MAKE].root == found[POM].key
        assert "line 6 (COPY pom.xml .)" in found[MAKE].why
        # The copy builds on the edited RUN, and its stage begins with the earlier COPY.
        assert kinds(found[14]) == ["stage", "input"]
        assert found[14].root == found[15].root == found[POM].key
        assert "from line 6 (COPY pom.xml .)" in found[14].why
        assert "line 13 (RUN x)" in found[14].why


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
def test_added_and_removed_files_are_reported(files: dict[str, str], why: str) -> None:
    assert reports(built(inputs(files=files), ALL, MAKE))[ALL].why == why


def test_modes_and_types_of_files_count_and_stamps_do_not() -> None:
    same = inputs()
    pom = same.files["pom.xml"]
    for changed, word in ((replace(pom, mode=0o755), "permissions"), (replace(pom, kind="other"), "type")):
        after = replace(same, files={**same.files, "pom.xml": changed})
        assert word in reports(built(after, POM, FETCH, ALL, MAKE))[POM].why
    touched = replace(same, files={**same.files, "pom.xml": replace(pom, stamp="later")})
    assert forecast(FIRST, touched)[1].outcome == "cached"


def test_unnoticed_change_is_reported_and_is_no_cause() -> None:
    first = inputs()
    stale = replace(first.files["pom.xml"], stale="content")
    after = replace(first, files={**first.files, "pom.xml": stale})
    for step in (reports(built(after))[POM], forecast(FIRST, after)[1]):
        assert (step.outcome, step.causes) == ("cached", ())
        assert [change.path for change in step.unnoticed] == ["pom.xml"]
        assert "uses the old content" in step.why
        assert "touch pom.xml" in step.why


def test_step_that_runs_copies_folders_with_new_permissions() -> None:
    first = inputs()
    folder = ContextFile("src", "dir", 0o755, 0, stale="mode")
    after = replace(first, files={**first.files, "src": folder})
    assert reports(built(after, ALL, MAKE))[ALL].unnoticed == ()
    assert "--no-cache" in reports(built(after))[ALL].why


@pytest.mark.parametrize("kind", ["secret", "ssh", "cache"])
def test_cached_step_with_an_uncounted_mount_says_so(kind: str) -> None:
    text = DOCKERFILE.replace("RUN fetch", f"RUN --mount=type={kind},id=x,target=/x fetch")
    before = built(inputs(text), FETCH)
    for steps in (explain(before, built(inputs(text))), forecast(before, inputs(text))):
        notes = {step.line: "secrets, SSH agents and cache mounts do not count" in step.why for step in steps}
        assert [line for line, noted in notes.items() if noted] == [FETCH]


def test_edited_instruction_is_a_cause() -> None:
    found = reports(built(inputs(DOCKERFILE.replace("fetch", "fetch --all")), FETCH, ALL, MAKE))
    assert kinds(found[FETCH]) == ["instruction"]
    assert found[ALL].root == found[FETCH].key


def test_layout_and_comments_do_not_count() -> None:
    text = DOCKERFILE.replace("COPY pom.xml .", "# the list\nCOPY   pom.xml   \\\n  .")
    assert {step.outcome for step in forecast(FIRST, inputs(text))} == {"cached"}


def test_added_instruction_is_new_and_removed_one_changes_the_order() -> None:
    more = reports(built(inputs(DOCKERFILE.replace("RUN make", "RUN lint\nRUN make")), 9, 10))
    assert kinds(more[9]) == ["new"]
    assert kinds(more[10]) == ["input"]
    less = reports(built(inputs(DOCKERFILE.replace("RUN fetch\n", "")), 7, 8))
    assert kinds(less[7]) == ["order"]


def test_build_argument_affects_every_run_after_its_arg() -> None:
    after = inputs(build_args={"VERSION": "2"})
    found = reports(built(after, FETCH, ALL, MAKE))
    assert found[POM].outcome == "cached"
    assert kinds(found[FETCH]) == ["build-arg"]
    assert found[FETCH].why == "The build argument VERSION has a different value."
    assert kinds(found[ALL]) == ["input"]
    assert kinds(found[MAKE]) == ["build-arg", "input"]


def test_undeclared_build_argument_changes_nothing() -> None:
    assert {step.outcome for step in forecast(FIRST, inputs(build_args={"OTHER": "2"}))} == {"cached"}


def test_env_and_user_causes_have_lines() -> None:
    text = DOCKERFILE.replace("ENV PORT=80", "ENV PORT=81").replace("RUN chmod", "USER 7\nRUN chmod")
    found = reports(built(inputs(text), 15))
    assert found[APP].outcome == "cached"
    assert [(c.kind, c.names, c.line) for c in found[15].causes] == [
        ("variable", ("PORT",), 11),
        ("setting", ("USER",), 14),
    ]


def test_changed_base_image_is_the_cause_of_its_first_step() -> None:
    same = inputs()
    after = replace(
        same, images={**same.images, "small": InputImage("small", "other layers", {"PATH": "/bin"})}
    )
    found = reports(built(after, 12, APP, CHMOD))
    assert found[12].why == "The base image small (line 10) is different than before."
    assert found[APP].root == found[12].key


def test_base_image_is_compared_by_its_layers() -> None:
    same = inputs(DOCKERFILE.replace("FROM small", "FROM little"))
    after = replace(
        same, images={**same.images, "little": InputImage("little", "layers of small", {"PATH": "/bin"})}
    )
    assert {step.outcome for step in forecast(FIRST, after)} == {"cached"}


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"no_cache": True}, "no-cache"), ({"engine": "another"}, "engine"), ({"network": "none"}, "network")],
)
def test_build_options_are_causes(change: dict[str, Any], kind: str) -> None:
    found = reports(built(inputs(**change), 5, POM, FETCH, ALL, MAKE, 12, APP, CHMOD))
    assert kind in kinds(found[FETCH])


def test_first_build_has_nothing_to_compare_with() -> None:
    found = reports(FIRST, None)
    assert kinds(found[POM]) == ["first"]
    cached = reports(built(inputs()), None)
    assert cached[POM].why == "The engine already had the result of this step on the same files."


def test_step_not_reached_by_the_earlier_build_is_unfinished() -> None:
    failed = built(inputs(), 5, POM, FETCH, without=(ALL, MAKE, 12, APP, CHMOD))
    failed = replace(failed, trace=replace(failed.trace, failed=True))
    found = reports(built(inputs(), ALL, MAKE, 12, APP, CHMOD), failed)
    assert found[FETCH].outcome == "cached"
    assert kinds(found[ALL]) == ["unfinished"]
    reached = reports(failed, FIRST)
    assert (reached[MAKE].outcome, reached[MAKE].why) == ("not reached", "The build ended before this step.")


def test_step_without_a_vertex_in_a_build_that_succeeded_is_not_known() -> None:
    found = reports(built(inputs(), FETCH, without=(MAKE,)), FIRST)
    assert (found[MAKE].outcome, found[MAKE].why) == ("not known", "The engine did not report on this step.")
    assert found[MAKE].causes == ()
    later = reports(built(inputs(), ALL), built(inputs(), POM, without=(ALL,)))
    assert "unfinished" not in kinds(later[ALL]), "the earlier build had a result"


def test_vertex_of_equal_steps_tells_of_each_of_them() -> None:
    text = "FROM base AS x\nRUN same\nFROM other AS y\nRUN same\nFROM x\nCOPY --from=y /a /a\n"
    made = replace(inputs(), dockerfile=parse(text))
    vertices = [
        Vertex("d", "[x 2/2] RUN same", ("b",), False, 1.0, 2.0, stage=0, instruction=1, others=((1, 1),)),
        Vertex("e", "[stage-2 1/1] COPY --from=y /a /a", ("d",), True, 2.0, 3.0, stage=2, instruction=1),
    ]
    record = BuildRecord(made, BuildTrace(made.dockerfile, tuple(vertices), "session", "sha256:1"))
    found = [(report.key, report.outcome) for report in explain(None, record)]
    assert found == [((0, 1), "ran"), ((1, 1), "ran"), ((2, 1), "cached")]


def test_unexplained_run_is_a_dropped_result() -> None:
    found = reports(built(inputs(), POM, FETCH, ALL, MAKE))
    assert kinds(found[POM]) == ["dropped"]
    assert "no longer has its result" in found[POM].why


def test_dropped_stage_is_the_root_of_its_copies() -> None:
    other = reports(built(inputs(), POM, FETCH, ALL, MAKE, APP))
    assert kinds(other[APP]) == ["stage"]
    assert other[APP].root == other[POM].key
    same = reports(built(inputs(), POM, FETCH, ALL, MAKE))
    assert "ran again and produced the same files" in same[APP].why


def test_cached_result_of_an_older_build_is_explained() -> None:
    found = reports(built(inputs(files=FILES | {"pom.xml": "older content"})))
    assert found[POM].outcome == "cached"
    assert "still has this result" in found[POM].why


def test_equal_steps_of_two_stages_share_an_outcome() -> None:
    text = "FROM small AS a\nWORKDIR /w\nFROM small AS b\nWORKDIR /w\nCOPY --from=a /w /x\n"
    found = reports(built(inputs(text), 2, 5, without=(4,)), None)
    assert found[4].outcome == found[2].outcome == "ran"


def test_unneeded_stages_have_no_reports() -> None:
    assert list(reports(built(inputs(target="builder")), None)) == [5, POM, FETCH, ALL, MAKE]


def test_forecast_marks_steps_that_depend_on_a_result() -> None:
    steps = {f.line: f for f in forecast(FIRST, inputs(files=FILES | {"src/main.java": "edited"}))}
    expected = {line: step.outcome for line, step in steps.items()}
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
    assert steps[APP].why == (
        "Stage builder runs again from line 8 (COPY . .): src/main.java has different content. "
        "If the copied files are the same, this copy stays cached."
    )
    assert (
        steps[CHMOD].why
        == "It builds on line 13 (COPY --from=builder /src/app .) and is cached if that step is."
    )


def test_prediction_is_marked_step_by_step() -> None:
    after = inputs(files=FILES | {"src/main.java": "edited"})
    prediction = Prediction.of_lines(after, [MAKE])
    marked = mark_prediction(prediction, FIRST, built(after, ALL, MAKE))
    wrong = [row.report.line for row in marked.rows if not row.right]
    assert (marked.score, marked.total, wrong) == (7, 8, [ALL])
    assert "src/main.java has different content." in str(marked)


def test_empty_prediction_scores_zero() -> None:
    assert mark_prediction(Prediction(), FIRST, built(inputs())).score == 0


def test_download_depends_on_its_content() -> None:
    text = "FROM small\nADD http://example.test/file /f\n"
    before = built(inputs(text), 2)
    (step,) = forecast(before, inputs(text))
    assert step.outcome == "depends"
    assert "http://example.test/file" in step.why
    assert [cause.kind for cause in reports(before, before)[2].causes] == ["remote"]


def test_copy_from_a_changed_image_depends_on_its_files() -> None:
    text = "FROM small\nCOPY --from=tools /bin/make /bin\n"
    now = inputs(text)
    after = replace(now, images={**now.images, "tools": InputImage("tools", "other layers")})
    (step,) = forecast(built(now, 2), after)
    assert step.outcome == "depends"
    assert step.why.endswith("If the copied files are the same, this copy stays cached.")
    (cached,) = explain(built(now, 2), built(after))
    assert cached.why.endswith("But the copied files are the same.")
    (ran,) = explain(built(now, 2), built(after, 2))
    assert kinds(ran) == ["image"]


def test_onbuild_triggers_explain_an_otherwise_unexplained_run() -> None:
    now = inputs("FROM tools\nRUN make\n")
    now = replace(now, images={"tools": InputImage("tools", "layers", triggers=("COPY . /src", "RUN fetch"))})
    first = built(now, 2)
    (step,) = forecast(first, now)
    assert step.outcome == "depends"
    (ran,) = explain(first, built(now, 2))
    assert ran.why.startswith("The ONBUILD instructions of tools (line 1) changed")
    (cached,) = explain(first, built(now))
    assert cached.why == "Nothing that this step depends on has changed."


def test_renamed_and_moved_stage_is_matched() -> None:
    text = DOCKERFILE.replace("builder", "maker").replace(
        "FROM tools", "FROM small AS new\nRUN new\nFROM tools"
    )
    assert {step.outcome for step in forecast(FIRST, inputs(text))} == {"cached"}


def test_unknown_platform_is_not_compared() -> None:
    first = built(inputs(), 5, POM, FETCH, ALL, MAKE, 12, APP, CHMOD)
    assert {step.outcome for step in forecast(first, inputs(platform="linux/amd64"))} == {"cached"}
    amd = built(inputs(platform="linux/amd64"), 5, POM, FETCH, ALL, MAKE, 12, APP, CHMOD)
    assert {step.outcome for step in forecast(amd, inputs(platform="linux/arm64"))} == {"runs"}


def test_reports_escape_control_characters() -> None:
    text = "FROM tools\nCOPY . /\nRUN echo '\x1b[2J\u202e'\n"
    before = built(inputs(text, {"a": "1"}))
    now = inputs(text, {"a": "1", "b\x1b[2J\n\udcff": "2"})
    after = built(now, 2, 3)
    step, run = explain(before, after)
    assert str(step).endswith("b\\u{1b}[2J\\u{a}\\xff is new.")
    rows = [*explain(before, after), *forecast(before, now), mark_prediction(Prediction(), before, after)]
    for row in rows:
        assert str(row).isascii()
        assert "\x1b" not in str(row)
    assert "\\u{1b}[2J\\u{202e}" in str(run)


def test_network_no_cache_and_unused_variables_rerun_only_affected_steps() -> None:
    def runs(now: BuildInputs, before: BuildRecord = FIRST) -> list[int]:
        return [step.line for step in forecast(before, now) if step.outcome == "runs"]

    assert runs(inputs(network="host")) == [FETCH, ALL, MAKE, CHMOD]
    assert runs(inputs(no_cache=True)) == [POM, FETCH, ALL, MAKE, APP, CHMOD], "each but the WORKDIRs"
    text = "FROM tools\nENV A=1\nCOPY ${A:+notes.txt} /\n"
    before = built(inputs(text), 3)
    assert runs(inputs(text.replace("A=1", "A=2")), before) == [], "its words are equal"


def test_edit_of_a_step_hides_its_lesser_causes() -> None:
    text = DOCKERFILE.replace("chmod", "chmod -v")
    found = {step.line: step for step in forecast(FIRST, inputs(text, FILES | {"notes.txt": "edited"}))}
    assert [cause.kind for cause in found[APP].causes] == ["stage"]
    assert [cause.kind for cause in found[CHMOD].causes] == ["instruction"]


def test_mixed_file_changes_are_summarized() -> None:
    files = {path: text for path, text in FILES.items() if path != "notes.txt"} | {"new": "n"}
    assert (
        reports(built(inputs(files=files), ALL, MAKE, APP, CHMOD))[ALL].why
        == "2 files changed: new, notes.txt."
    )


def test_edited_steps_match_in_order() -> None:
    old, new = (
        parse("FROM tools\nRUN one\nCOPY a /\nRUN two\n"),
        parse("FROM tools\nCOPY b /\nRUN three\n"),
    )
    pairs = match_steps({0: 0}, read_steps(BuildInputs(old, {}, {})), read_steps(BuildInputs(new, {}, {})))
    assert {key[1] + 1: step.line for key, step in pairs.items()} == {2: 3, 3: 4}


def test_platform_counts_for_a_run_and_for_files_of_images() -> None:
    text = (
        "FROM --platform=$BUILDPLATFORM base AS tools\nRUN a\n"
        "FROM scratch AS empty\nCOPY pom.xml /\nFROM base\nCOPY pom.xml /\nRUN b\n"
        "COPY --from=tools /a /\nCOPY --from=empty /pom.xml /\nCOPY --from=image /a /\n"
    )

    def for_platform(platform: str) -> BuildInputs:
        parsed = parse(text, platform=platform, build_platform="linux/amd64")
        files = {"pom.xml": ContextFile("pom.xml", "file", 0o644, 1, "1")}
        images = {name: InputImage(name, name) for name in ("base", "image")}
        return BuildInputs(parsed, files, images, platform=platform)

    first = for_platform("linux/amd64")
    trace = BuildTrace(
        dockerfile=first.dockerfile,
        vertices=tuple(
            Vertex(f"{s.key}", "x", (), started=1.0, completed=2.0, stage=s.key[0], instruction=s.key[1])
            for s in read_steps(first)
        ),
        backend="session",
        image_id=None,
    )
    steps = forecast(BuildRecord(first, trace), for_platform("linux/arm64"))
    assert {step.line: step.outcome for step in steps} == {
        **{2: "cached", 4: "cached", 6: "runs", 7: "runs", 8: "runs", 9: "runs", 10: "runs"}
    }
    assert "platform" in {cause.kind for step in steps if step.line == 6 for cause in step.causes}
