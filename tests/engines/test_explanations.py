"""What is foretold and explained of the cache holds on every engine."""

from __future__ import annotations

from pathlib import Path

import pytest

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
        told = forecast(before, read_inputs(tmp_path, engine=engine, **options))
        after = stagelens.record(tmp_path, engine=engine, tags=[f"{unique}:x"], **options)
        verdicts = stagelens.explain(before, after)
        label = "\n".join(map(str, verdicts))
        for step, verdict in zip(told, verdicts, strict=True):
            assert bool(verdict.causes) == (verdict.outcome == "ran"), label
            assert "dropped" not in {cause.kind for cause in verdict.causes}, label
            expected = {"cached": "cached", "runs": "ran"}
            assert before is None or expected.get(step.expected, verdict.outcome) == verdict.outcome, label
        return after, {verdict.line for verdict in verdicts if verdict.outcome == "ran"}

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
