"""Forecasts and explanations of the cache are right on every engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from stagelens_testing import frontend
from stagelens_testing.edits import Edit, built_twice, line
from stagelens_testing.registry import Registry

import stagelens
from stagelens.cache import BuildRecord, forecast, read_inputs
from stagelens.engine import Engine

pytestmark = pytest.mark.engine

DOCKERFILE = """\
FROM diamol/base AS work
ARG VERSION=1
WORKDIR /in
COPY list .
RUN echo {unique}
COPY . .
RUN wc -c < notes > /length; cp list /list
FROM diamol/base
WORKDIR /out
COPY --from=work /length .
COPY --from=work /list .
RUN cat length list
"""
LIST, ECHO, ALL, WORK, LENGTH, COPIED, CAT = 4, 5, 6, 7, 10, 11, 12


def test_edits_are_explained(engine: Engine, tmp_path: Path, unique: str, clean: object) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.format(unique=unique))
    (tmp_path / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
    (tmp_path / "list").write_text(f"one {unique}")
    (tmp_path / "notes").write_text(f"one {unique}")

    def build(**options: dict[str, str | None]) -> tuple[BuildRecord, set[int]]:
        forecasts = forecast(before, read_inputs(tmp_path, engine=engine, **options))
        after = stagelens.record(tmp_path, engine=engine, tags=[f"{unique}:x"], **options)
        reports = stagelens.explain(before, after)
        label = "\n".join(map(str, reports))
        for step, report in zip(forecasts, reports, strict=True):
            assert bool(report.causes) == (report.outcome == "ran"), label
            assert "dropped" not in {cause.kind for cause in report.causes}, label
            expected = {"cached": "cached", "runs": "ran"}
            assert before is None or expected.get(step.outcome, report.outcome) == report.outcome, label
        return after, {report.line for report in reports if report.outcome == "ran"}

    before: BuildRecord | None = None
    before, _ = build()
    before, ran = build()
    assert ran == set()

    (tmp_path / "notes").write_text(f"two {unique}")
    before, ran = build()
    assert ran == {ALL, WORK}, "the copies from it have the same content"

    (tmp_path / "list").write_text(f"two {unique}")
    before, ran = build()
    assert ran == {LIST, ECHO, ALL, WORK, COPIED, CAT}

    before, ran = build(build_args={"VERSION": unique})
    assert ran == {ECHO, ALL, WORK}


# Instructions after the first step, an edit, the lines that run again, and those with MergeOp.
MODERN: dict[str, tuple[str, Edit, list[int], list[int]]] = {
    "the word that ends a here-document": (
        "RUN <<A\ntrue x\nA\nRUN true\n",
        line("A\ntrue x\nA", "B\ntrue x\nB"),
        [],
        [],
    ),
    "that of one for a program": ("RUN cat <<A\nx\nA\n", line("A\nx\nA", "B\nx\nB"), [3], [3]),
    "that of one that becomes a script": (
        "RUN <<A\n#!/bin/sh\ntrue\nA\n",
        line("A\n#!/bin/sh\ntrue\nA", "B\n#!/bin/sh\ntrue\nB"),
        [3],
        [3],
    ),
    "that of one that becomes a file": ("COPY <<A /x\ny\nA\n", line("A /x\ny\nA", "B /x\ny\nB"), [3], [3]),
    "a file's quotes that change nothing": ("COPY <<A /x\ny\nA\n", line("<<A", "<<'A'"), [], []),
    "a link that is none": ("COPY --link=false f /x\nRUN true\n", line("--link=false ", ""), [], []),
    "a step before a linked copy": (
        "RUN true 1\nCOPY --link f /x\nCOPY --link d /y\nRUN true\n",
        line("RUN true 1", "RUN true 2"),
        [3, 4, 5, 6],
        [3, 6],
    ),
    "a file of a linked copy": (
        "RUN true 1\nCOPY --link f /x\nCOPY --link d /y\nRUN true\n",
        lambda folder: (folder / "f").write_text(f"new {folder}"),
        [4, 5, 6],
        [4, 6],
    ),
    "a second copy that is linked now": (
        "FROM scratch\nCOPY f /UNIQUE\nCOPY f /x\n",
        line("COPY f /x", "COPY --link f /x"),
        [],
        [5],
    ),
    "a first copy that is linked to nothing": (
        "FROM scratch\nCOPY f /x\nCOPY f /y\n",
        line("COPY f /x", "COPY --link f /x"),
        [],
        [],
    ),
    "a mount's source in a variable": (
        "ARG S=d\nRUN --mount=source=${S},target=/m true UNIQUE\n",
        lambda folder: (folder / "d/f").write_text(f"new {folder}"),
        [4],
        [4],
    ),
    "a mount's source in a variable with the same files": (
        "ENV S=f\nRUN --mount=source=$S,target=/m true UNIQUE\n",
        line("source=$S", "source='f'"),
        [],
        [],
    ),
    "a mount's target in a variable": (
        "ENV T=/m\nRUN --mount=source=f,target=${T} true UNIQUE\n",
        line("${T}", "$T/../m"),
        [4],
        [4],
    ),
    "a folder to run in, written otherwise": (
        "WORKDIR /w\nCOPY f .\nRUN true\n",
        line("WORKDIR /w", "WORKDIR /w/"),
        [5],
        [5],
    ),
    "a copy that is linked now": ("COPY f /x\nRUN true\n", line("COPY f", "COPY --link f"), [], [3, 4]),
    "a linked copy with permissions of its own": (
        "RUN true 1\nCOPY --link --chmod=600 f /x\nRUN true\n",
        line("RUN true 1", "RUN true 2"),
        [3, 4, 5],
        [3, 4, 5],
    ),
}


@pytest.mark.parametrize("name", MODERN)
def test_heredocs_and_linked_copies_count_as_they_do_for_the_engine(
    engine: Engine, tmp_path: Path, unique: str, clean: object, name: str
) -> None:
    if engine.info.version.startswith("20."):
        pytest.skip("Engine 20.10's own frontend knows neither here-documents nor --link")
    text, edit, plain, merged = MODERN[name]
    forecasts, reports = built_twice(
        engine, tmp_path, unique, f"FROM diamol/base\nRUN echo UNIQUE\n{text}", edit
    )
    ran = merged if engine.info.containerd_store else plain
    label = "\n".join(map(str, reports))
    assert [report.line for report in reports if report.outcome == "ran"] == ran, label
    assert [step.line for step in forecasts if step.outcome == "runs"] == ran, "\n".join(map(str, forecasts))
    for report in reports:
        if report.outcome == "ran":
            assert report.root == reports[[v.line for v in reports].index(ran[0])].key, label


def test_identities_of_cache_mounts_count_before_buildkit_0_13_only(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    text = "FROM diamol/base\nRUN --mount=type=cache,target=/c,id=one true UNIQUE\n"
    forecasts, reports = built_twice(engine, tmp_path, unique, text, line("id=one", "id=two,sharing=locked"))
    old = engine.info.version.startswith("20.")
    assert [step.outcome for step in forecasts] == ["runs" if old else "cached"]
    assert [report.outcome for report in reports] == ["ran" if old else "cached"]


def test_run_with_a_secret_is_cached_by_the_content_below(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    text = "FROM diamol/base\nRUN true UNIQUE\nRUN --mount=type=secret,id=s true UNIQUE\n"
    forecasts, reports = built_twice(engine, tmp_path, unique, text, line("RUN true ", "RUN true 2 "))
    assert [step.outcome for step in forecasts] == ["runs", "depends"]
    assert "If that step produces the same files, the engine may keep this step cached." in forecasts[1].why
    old = engine.info.version.startswith("20.")
    assert [report.outcome for report in reports] == ["ran", "ran" if old else "cached"]
    if not old:
        assert reports[1].why.startswith("The step that it builds on ran again and produced the same files")


# A COPY that only an external frontend supports, an edit, and the lines that run again.
LABS: dict[str, tuple[str, Edit, list[int]]] = {
    "the writing of a path that is kept": ("COPY --parents ./d//f /x/\n", line("./d//f", "d/f"), []),
    "parents that are not kept": ("COPY --parents=false d/f /x/\n", line("--parents=false ", ""), []),
    "where the kept path begins": ("COPY --parents d/f /x/\n", line("d/f", "d/./f"), [4]),
    "a file below a kept folder": (
        "COPY --parents d /x/\n",
        lambda folder: (folder / "d/f").write_text(f"new {folder}"),
        [4],
    ),
    "a file anywhere": (
        "COPY --parents **/f /\n",
        lambda folder: (folder / "d/f").write_text(f"new {folder}"),
        [4],
    ),
    "a file of the same name that is not kept": (
        "COPY --parents d/f /x/\n",
        lambda folder: (folder / "f").write_text(f"new {folder}"),
        [],
    ),
    "a file that is left out": (
        "COPY --exclude=d/f . /x/\n",
        lambda folder: (folder / "d/f").write_text(f"new {folder}"),
        [],
    ),
    "a file that is not left out": (
        "COPY --exclude=d/f . /x/\n",
        lambda folder: (folder / "f").write_text(f"new {folder}"),
        [4],
    ),
    "another pattern for the same files": (
        "COPY --exclude=d/f . /x/\n",
        line("--exclude=d/f", "--exclude=d/f*"),
        [4],
    ),
}


@pytest.mark.network
@pytest.mark.timeout(1200)  # builds the frontend once, with Go
def test_parents_and_exclude_count_as_they_do_for_the_engine(
    engine: Engine, open_registry: Registry, tmp_path: Path, unique: str, clean: object
) -> None:
    if engine.info.version.startswith("20."):
        pytest.skip("Engine 20.10 heeds no exclusion, whatever its frontend knows")
    if reason := frontend.unavailable_reason():
        pytest.skip(reason)
    image = frontend.push(open_registry, engine, unique)
    for number, (name, (text, edit, ran)) in enumerate(LABS.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        text = f"# syntax={image}\nFROM diamol/base\nRUN echo UNIQUE {number}\n{text}"
        forecasts, reports = built_twice(engine, folder, unique, text, edit)
        label = "\n".join([name, *map(str, reports), *map(str, forecasts)])
        assert [report.line for report in reports if report.outcome == "ran"] == ran, label
        assert [step.line for step in forecasts if step.outcome == "runs"] == ran, label
