"""Named build contexts on every engine: builds, forecasts and explorations."""

from __future__ import annotations

from pathlib import Path

import pytest

import stagelens
from stagelens.cache import forecast, read_inputs
from stagelens.engine import Engine

pytestmark = pytest.mark.engine

DOCKERFILE = """\
FROM assets AS begun
COPY main /main
FROM diamol/base AS replaced
RUN false
FROM tools
COPY --from=assets logo /logo
RUN --mount=from=assets,target=/m ls /m > /list; echo {unique}
COPY --from=replaced /logo /copy
COPY --from=begun /main /logo /begun/
"""
BEGUN, LOGO, MOUNT, REPLACED, COPIED = 2, 6, 7, 8, 9


def test_named_contexts_are_sent_forecast_and_explored(
    engine: Engine, tmp_path: Path, unique: str, clean: object
) -> None:
    if engine.info.version.startswith("20."):
        pytest.skip("Engine 20.10's own frontend ignores named contexts")
    context, assets, other = (tmp_path / name for name in ("context", "assets", "other"))
    for folder in (context, assets, other):
        folder.mkdir()
        (folder / "logo").write_text(f"{folder.name} {unique}")
    (context / "Dockerfile").write_text(DOCKERFILE.format(unique=unique))
    (context / "main").write_text(unique)
    (assets / "used").write_text("1")
    (assets / "ignored").write_text("1")
    (assets / ".dockerignore").write_text("ignored\n")
    contexts = {"assets": assets, "replaced": other, "tools": "docker-image://diamol/base"}

    def build() -> stagelens.cache.BuildRecord:
        tags = [f"{unique}:x"]
        return stagelens.record(context, engine=engine, tags=tags, build_contexts=contexts)

    before = build()
    assert before.trace.image_id == engine.api.inspect_image(f"{unique}:x")["Id"]
    # The engine never caches what builds on a folder itself; the copy from there is cached by content.
    for edit, ran, sure in (
        (None, {BEGUN}, {BEGUN}),
        (assets / "ignored", {BEGUN}, {BEGUN}),
        (assets / "used", {BEGUN, MOUNT, REPLACED, COPIED}, {BEGUN, MOUNT, REPLACED, COPIED}),
        (other / "logo", {BEGUN, REPLACED, COPIED}, {BEGUN, REPLACED, COPIED}),
    ):
        if edit is not None:
            edit.write_text(f"{unique} edited")
        expected = forecast(before, read_inputs(context, engine=engine, build_contexts=contexts))
        after = build()
        reports = stagelens.explain(before, after)
        label = "\n".join([str(edit), *map(str, expected), *map(str, reports)])
        assert {report.line for report in reports if report.outcome == "ran"} == ran, label
        assert {step.line for step in expected if step.outcome == "runs"} == sure, label
        before = after
    files = stagelens.explore(context, before.trace, engine=engine)
    assert [[e.path for e in files.stage("begun").changes(i).added] for i in (0, 1)] == [
        ["logo"],  # BuildKit asks for no more than the copy from there needs
        ["main"],
    ]
    assert [[e.path for e in files.stages[-1].changes(i).added] for i in (1, 2, 3, 4)] == [
        ["logo"],
        ["list"],
        ["copy"],
        ["begun", "begun/logo", "begun/main"],
    ]
