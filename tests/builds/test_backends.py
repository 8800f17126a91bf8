"""One history of builds told alike by all three ways of building: ties, cache hits, logs, errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from stagelens_testing.cutting_proxy import CuttingProxy
from stagelens_testing.engines import output_delay

import stagelens
from stagelens.builds import Backend, BuildFailed, BuildTrace
from stagelens.cli.doctor import examine
from stagelens.engine import Engine, connect
from stagelens.errors import StagelensError

pytestmark = pytest.mark.engine

TEXT = """\
ARG BASE=diamol/base
FROM $BASE AS work
WORKDIR /w
RUN echo {unique} > made && echo "to standard error" >&2{output_delay}

FROM diamol/base
COPY --from=work /w/made /made
ENV PLACE=/here
COPY here $PLACE
RUN echo last: && cat /made $PLACE && echo "Step 9/9 : RUN x" && echo " ---> Using cache"{output_delay}
"""
# What the last step prints looks like the classic builder's own words.
ALIKE = [(1, "Step 9/9 : RUN x"), (1, " ---> Using cache")]
WORKDIR, MADE, COPIED, HERE, LAST = (0, 1), (0, 2), (1, 1), (1, 3), (1, 4)
STEPS = {WORKDIR: 3, MADE: 4, COPIED: 7, HERE: 9, LAST: 10}


def ran(trace: BuildTrace) -> set[int]:
    """Lines of the steps that ran; those of the others came from the cache."""
    told = {(v.stage, v.instruction): v for v in trace.vertices}
    assert told.keys() >= STEPS.keys()
    lines = {v: trace.dockerfile.stages[v[0]].instructions[v[1]].start_line for v in STEPS}
    assert lines == STEPS
    for place in STEPS:
        vertex = told[place]
        assert vertex.seconds is not None
        assert vertex.seconds >= 0
        assert trace.started - 1 <= (vertex.started or 0) <= (vertex.completed or 0) <= trace.completed + 1
        assert set(vertex.inputs) <= {v.digest for v in trace.vertices}
        assert trace.vertex(*place) == vertex
    return {line for place, line in STEPS.items() if not told[place].cached}


def logged(trace: BuildTrace, place: tuple[int, int]) -> list[tuple[int, str]]:
    """Its lines, each with 1 for standard output or 2 for standard error."""
    vertex = trace.vertex(*place)
    assert vertex is not None
    return [(line.stream, line.text) for line in vertex.logs]


@pytest.mark.parametrize("backend", ["session", "upload", "classic"])
def test_all_backends_report_the_same_steps(
    engine: Engine, tmp_path: Path, unique: str, clean: object, backend: Backend
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    text = TEXT.format(unique=unique, output_delay=output_delay(backend))
    (context / "Dockerfile").write_text(text)
    (context / "here").write_text("one\n")

    def build() -> BuildTrace:
        return stagelens.build(context, engine=engine, tags=[f"{unique}:x"], backend=backend)

    first = build()
    assert (first.backend, first.target, first.tags) == (backend, None, (f"{unique}:x",))
    assert ran(first) - {3} == {4, 7, 9, 10}, "another build may have made the folder"
    assert logged(first, MADE) == [(2, "to standard error")]
    assert logged(first, LAST) == [(1, "last:"), (1, unique), (1, "one"), *ALIKE]
    assert ran(build()) == set()

    (context / "here").write_text("two\n")
    edited = build()
    assert ran(edited) == {9, 10}
    assert logged(edited, LAST) == [(1, "last:"), (1, unique), (1, "two"), *ALIKE]
    assert edited.image_id == engine.api.inspect_image(f"{unique}:x")["Id"] != first.image_id

    (context / "Dockerfile").write_text(
        text + f"RUN : {unique}; no-such-program || (:{output_delay(backend)}; exit 127)\n"
    )
    with pytest.raises(BuildFailed) as caught:
        build()
    failed, trace = caught.value, caught.value.trace
    assert (failed.line, failed.exit_code, failed.stage) == (11, 127, trace.dockerfile.stages[1])
    assert "no-such-program: not found" in failed.logs[-1].text
    assert [(v.stage, v.instruction) for v in trace.vertices if v.error] == [(1, 5)]
    assert (trace.image_id, trace.backend, ran(trace)) == (None, backend, set())
    if backend == "classic":  # it keeps the container of the failed step
        for row in engine.api.containers(all=True, filters={"status": "exited"}):
            if unique in row["Command"]:
                engine.api.remove_container(row["Id"])


def test_proxy_without_upgrades_gets_uploads_and_a_finding_of_the_doctor(
    engine: Engine, tmp_path: Path, unique: str, clean: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM diamol/base\nRUN echo {unique}\n")
    address = f"unix://{tmp_path}/s"

    def told() -> tuple[str, object]:
        finding = next(finding for finding in examine() if finding.name == "builds")
        return finding.text, finding.facts["backend"]

    assert told() == ("BuildKit, through a session", "session")
    cutter = CuttingProxy(tmp_path / "s", engine.address.removeprefix("unix://"), refuse=b"/session")
    try:
        monkeypatch.setenv("DOCKER_HOST", address)
        text, backend = told()
        assert backend == "upload"
        assert "403 Forbidden" in text
        client = connect(address, start=False)
        trace = stagelens.build(tmp_path, engine=client, tags=[f"{unique}:x"])
        assert trace.backend == "upload"
        assert any("secrets" in line for line in trace.limitations)
        with pytest.raises(StagelensError, match="does not offer a BuildKit session"):
            stagelens.build(tmp_path, engine=client, secrets={"x": b"value"})
        client.api.close()
    finally:
        cutter.close()
