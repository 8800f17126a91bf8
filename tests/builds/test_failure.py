"""A build that failed before a step of it ran: the line that it is about, and what helps there."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagelens import BuildFailed, build
from stagelens.engine import Engine

pytestmark = pytest.mark.engine

TWO = "FROM diamol/base AS builder\nRUN echo app > /app\nFROM diamol/base\n"


@pytest.mark.parametrize(
    ("dockerfile", "line", "remedy"),
    [
        (TWO + "COPY --from=biulder /app /app\n", 4, "no stage above is called biulder"),
        (TWO + "COPY --from=biulder /app /app\n", 4, "did you mean builder?"),
        (TWO + "COPY --from=packages /app /app\n", 4, "the stages above are builder"),
        ("FROM diamol/base\nRUN --mount=from=tools,target=/t ls /t\n", 2, "name a stage: FROM image AS name"),
        (TWO + "COPY --from=stagelens-tests/none:1 /app /app\n", 4, "check the image's name"),
        # The look-up that is stopped, since another one failed, is not to blame.
        ("FROM stagelens-tests/none:1 AS a\n" + TWO + "COPY --from=a / /a\n", 1, "check the image's name"),
        (TWO + "FROM stagelens-tests/none:1\nCOPY --from=builder /app /\n", 4, "check the image's name"),
        ("ARG VERSION\nFROM diamol/base:$VERSION\n", 2, "--build-arg VERSION=…"),
        ('FROM diamol/base\nENV NAME="half\n', 2, "fix line 2"),
        ("FROM diamol/base\nLABEL a=b\nEXPOSE http\n", 3, "fix line 3"),
    ],
)
def test_failure_before_the_first_step_has_its_line_and_a_remedy(
    engine: Engine, tmp_path: Path, dockerfile: str, line: int, remedy: str
) -> None:
    (tmp_path / "Dockerfile").write_text(dockerfile)
    with pytest.raises(BuildFailed) as failed:
        build(tmp_path, engine=engine)
    assert failed.value.line == line
    assert failed.value.instruction is not None
    assert remedy in (failed.value.remedy or "")


def test_variable_with_a_default_in_from_needs_no_value(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM diamol/base:${VERSION:-a/b}\n")
    with pytest.raises(BuildFailed) as failed:
        build(tmp_path, engine=engine)
    assert failed.value.line == 1
    assert failed.value.remedy == "fix line 1 of the Dockerfile, then build again"
