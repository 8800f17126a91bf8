"""The instructions of vertices on the engine, by its graph of the build."""

from __future__ import annotations

from pathlib import Path

import pytest

import stagelens
from stagelens.builds import source_map
from stagelens.engine import Engine

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("total", [10, 12])
def test_fifth_step_of_a_long_stage_fails_at_its_line(
    engine: Engine, tmp_path: Path, unique: str, total: int
) -> None:
    steps = [f"RUN echo {unique} {n}\n" for n in range(2, total + 1)]
    steps[3] = f"RUN echo five {unique}; exit 3\n"
    (tmp_path / "Dockerfile").write_text(f"FROM diamol/base AS builder\n{''.join(steps)}FROM builder\n")
    with pytest.raises(stagelens.BuildFailed) as caught:
        stagelens.build(tmp_path, engine=engine)
    assert caught.value.line == 5
    assert [line.text for line in caught.value.logs] == [f"five {unique}"]
    reports = stagelens.explain(None, stagelens.record(tmp_path, caught.value.trace, engine=engine))
    outcomes = {report.line: report.outcome for report in reports}
    assert outcomes == {n: "ran" if n <= 5 else "not reached" for n in range(2, total + 1)}


def test_stored_graph_serves_builds_with_other_files(
    engine: Engine, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELENS_HOME", str(tmp_path / "home"))
    context = tmp_path / "context"
    context.mkdir()
    twins = "".join(
        f"FROM diamol/base AS {name}\nCOPY f /{unique}\nRUN same {unique} || :\n" for name in "ab"
    )
    (context / "Dockerfile").write_text(f"{twins}FROM a\nCOPY --from=b /{unique} /b\n")
    located: list[dict[str, tuple[tuple[int, int], ...]]] = []

    def build(text: str) -> None:
        (context / "f").write_text(text)
        trace = stagelens.build(context, engine=engine)
        found = {vertex.name.partition("] ")[2]: vertex.instructions for vertex in trace.vertices}
        located.append({name: at for name, at in found.items() if at})

    build("one")
    monkeypatch.setattr(source_map.GraphCache, "store", pytest.fail)
    build("two and more")
    assert located[0] == located[1]
    assert located[0][f"COPY f /{unique}"] in (((0, 1), (1, 1)), ((1, 1), (0, 1)))
    assert located[0][f"COPY --from=b /{unique} /b"] == ((2, 1),)


def test_engine_without_a_gateway_is_read_by_names(
    engine: Engine, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELENS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("stagelens.builds.builder.request_graph", lambda *_: None)
    context = tmp_path / "context"
    context.mkdir()
    steps = "".join(f"RUN echo {unique} {n}\n" for n in range(2, 11))
    (context / "Dockerfile").write_text(f"FROM diamol/base AS builder\n{steps}FROM builder\n")
    trace = stagelens.build(context, engine=engine)
    assert all(trace.vertex(0, index) is not None for index in range(10))
