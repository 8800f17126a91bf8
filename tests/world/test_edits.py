"""Edits that Hypothesis draws, on one project that has something for every kind of edit.

The same few examples each time; STAGELENS_EXAMPLES=100 for as many new ones, made small on a failure. A
sequence that failed once goes to `FAILED`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from stagelens_testing import engines
from stagelens_testing.world.edits import KINDS, Edit
from stagelens_testing.world.projects import Project
from stagelens_testing.world.runner import check_project

from stagelens.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]
MORE = os.environ.get("STAGELENS_EXAMPLES")

PROJECT = Project(
    "every-edit",
    Path(__file__).parent / "every-edit",
    build_args={"WHO": "nobody"},
    secrets={"token": "0123456789012"},
    remote={"file.txt": "remote\n"},
)
EDITS = st.lists(
    st.builds(Edit, kind=st.sampled_from(sorted(KINDS)), pick=st.integers(0, 200)), min_size=1, max_size=6
)


# Each of these was explained or forecast wrongly once.
@example([Edit("platform", 3), Edit("touch", 0), Edit("layout", 0)])
@example([Edit("change-value", 0), Edit("rename-stage", 1)])
@example([Edit("link", 1), Edit("content", 1), Edit("insert", 5)])
@settings(
    max_examples=int(MORE or "4"),
    derandomize=not MORE,
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if MORE else [])],
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(EDITS)
def _check(engine: Engine, edits: list[Edit]) -> None:
    result = check_project(engine, PROJECT, edits, namespace_pid=engines.namespace_pid(engine), points=False)
    assert not result.problems, "\n".join(result.problems)


def test_edits_are_forecast_and_explained(engine: Engine) -> None:
    _check(engine)
