"""Each vertex has its instruction on every engine, whatever its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from stagelens_testing.world.projects import supports_newer

import stagelens
from stagelens.engine import Engine

pytestmark = pytest.mark.engine

# Ten steps, triggers, equal steps, and an image that only a COPY names.
TEXT = """\
FROM diamol/base AS kit
ONBUILD COPY f /trigger
ONBUILD RUN echo trigger
RUN echo {unique}
FROM kit AS build
{steps}FROM diamol/base
RUN echo {unique}
COPY --from=build /trigger /
COPY --from=diamol/base /bin/sh /
"""
# Here-documents and linked copies are unknown to Engine 20.10's own frontend.
NEWER = """\
COPY --link f /linked
RUN <<EOF
echo one
echo two
EOF
COPY <<A <<B /docs/
1
A
2
B
"""


def test_each_instruction_has_its_vertex(
    engine: Engine, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELENS_HOME", str(tmp_path / "home"))
    context = tmp_path / "context"
    context.mkdir()
    (context / "f").write_text(unique)
    newer = NEWER if supports_newer(engine) else ""
    steps = "".join(f"RUN echo {n}\n" for n in range(10))
    (context / "Dockerfile").write_text(TEXT.format(unique=unique, steps=steps) + newer)
    trace = stagelens.build(context, engine=engine)

    def line(at: tuple[int, int]) -> int:
        return trace.dockerfile.stages[at[0]].instructions[at[1]].start_line

    def lines() -> dict[str, list[int]]:
        """Return the lines of each step that an instruction makes, by its text."""
        found = {
            v.name.partition("] ")[2]: sorted(map(line, v.instructions)) for v in trace.vertices if v.inputs
        }
        return {name.removeprefix("ONBUILD "): found[name] for name in found if not name.startswith("LINK ")}

    expected = {f"RUN echo {n}": [6 + n] for n in range(10)}
    expected |= {"COPY f /trigger": [5], "RUN echo trigger": [5], f"RUN echo {unique}": [4, 17]}
    expected |= {"COPY --from=build /trigger /": [18], "COPY --from=diamol/base /bin/sh /": [19]}
    if newer:
        expected |= {"COPY --link f /linked": [20], "RUN <<EOF (echo one...)": [21]}
        expected |= {"COPY <<A <<B /docs/": [25]}
    assert lines() == expected
    parts = [at for vertex in trace.vertices for at in vertex.part_of]
    assert 19 in map(line, parts), "the image that files are copied from"

    trace = stagelens.build(context, engine=engine)
    assert lines() == expected
