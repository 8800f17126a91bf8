"""What stagelens says of a corpus of Dockerfiles is what BuildKit did.

Each project of `corpus` is built; every step must have its vertex, and the files after every instruction must
be those of a build that ends there. Then come ten edits: the forecast before each build and the explanation
after it are held against the vertices.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from stagelens_testing import engines
from stagelens_testing.world.checks import FileFacts
from stagelens_testing.world.edits import random_edits
from stagelens_testing.world.projects import Project, find_projects, supports_newer
from stagelens_testing.world.runner import Result, check_project

from stagelens.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

PROJECTS = {project.name: project for project in find_projects(Path(__file__).parent / "corpus")}
EDITS = 10
# A build waits for the engine as long as the engine waits for us.
_AT_ONCE = 2


@pytest.fixture(scope="module")
def results(engine: Engine, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Result]]]:
    """The checks of all projects that are asked for; they run while the first tests wait."""
    asked = [item.callspec.params["name"] for item in request.session.items if item.module is request.module]
    newer = supports_newer(engine)
    bases: dict[str, FileFacts] = {}
    pid = engines.namespace_pid(engine)

    def check(project: Project) -> Result:
        return check_project(
            engine,
            project,
            random_edits(project.name, EDITS),
            bases=bases,
            namespace_pid=pid,
        )

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {
            name: pool.submit(check, project)
            for name, project in ((name, PROJECTS[name]) for name in asked)
            if newer or not project.newer
        }


@pytest.mark.parametrize("name", PROJECTS)
def test_steps_files_forecasts_and_verdicts_are_right(results: dict[str, Future[Result]], name: str) -> None:
    if name not in results:
        pytest.skip("this engine's frontend cannot build it: tests/matrix does")
    result = results[name].result()
    assert not result.problems, "\n".join(result.problems)
    assert result.tied == result.steps > 0
    assert result.equal == result.points > 0
    assert result.confirmed == result.verdicts
