"""The corpus of `tests/world` on further engines: what the running engine cannot build, and a sample."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from stagelens_testing import engines
from stagelens_testing.world.checks import FileFacts
from stagelens_testing.world.edits import random_edits
from stagelens_testing.world.projects import Project, find_projects, supports_newer
from stagelens_testing.world.runner import Result, check_project

from stagelens.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

EVERY = 10  # of the projects that the running engine builds, too
EDITS = 5


def test_corpus_is_explored_forecast_and_explained(engine: Engine) -> None:
    pid = engines.namespace_pid(engine)
    if pid is None:
        pytest.skip("tests/world runs all projects on the running engine")
    assert supports_newer(engine)
    projects = list(find_projects(Path(__file__).parents[1] / "world/corpus"))
    bases: dict[str, FileFacts] = {}

    def check(project: Project) -> Result:
        edits = random_edits(f"{project.name} further", EDITS)
        return check_project(engine, project, edits, bases=bases, namespace_pid=pid, contents=0)

    chosen = [project for number, project in enumerate(projects) if project.newer or number % EVERY == 0]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(check, chosen))
    problems = [problem for result in results for problem in result.problems]
    assert not problems, "\n".join(problems)
    assert sum(result.tied for result in results) == sum(result.steps for result in results) > 0
