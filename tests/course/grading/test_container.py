"""A grading container is removed despite an interrupt, and its response is read completely."""

from __future__ import annotations

from typing import Any

import pytest
from stagelens_testing.resources import PATIENCE, InterruptedCall

from stagelens.engine import Engine
from stagelens_course.grading.container import ContainerResponse, client_container, request_page
from stagelens_course.grading.model import SubmissionLimits

pytestmark = pytest.mark.engine


def test_container_is_removed_if_an_interrupt_comes_while_it_is_created(
    engine: Engine, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine finishes a request even if its client has gone."""
    interrupted = InterruptedCall(engine.api.create_container)
    monkeypatch.setattr(engine.api, "create_container", interrupted)
    with pytest.raises(KeyboardInterrupt), client_container(engine, {"org.stagelens.tests": unique}):
        pytest.fail("the call was interrupted")
    interrupted.end()
    assert not engine.api.containers(all=True, filters={"label": f"org.stagelens.tests={unique}"})


PAGE = "while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nGood day' | nc -l -p 80; done"
LOST = {
    "all": lambda out, err: (None, None),
    "the notes": lambda out, err: (out, None),
    "the page": lambda out, err: (None, err),
    "the page's end": lambda out, err: (out[:4], err),
}


@pytest.mark.parametrize("part", LOST)
def test_output_that_a_busy_engine_loses_is_requested_again(
    engine: Engine, clean: Any, unique: str, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """An engine drops output that it has not read two seconds after the end of a program."""
    container = engine.api.create_container("diamol/base", ["sh", "-c", PAGE], labels=clean.labels)
    engine.api.commit(container, repository=unique)
    start, times = engine.api.exec_start, iter(range(2))

    def losing(*arguments: Any, **settings: Any) -> Any:
        out, err = start(*arguments, **settings)
        return LOST[part](out, err) if out and next(times, None) is not None else (out, err)

    monkeypatch.setattr(engine.api, "exec_start", losing)
    with client_container(engine, clean.labels) as name:
        answer = request_page(
            engine, name, unique, limits=SubmissionLimits(answer=PATIENCE), labels=clean.labels
        )
    assert answer == ContainerResponse("Good day")
    assert next(times, None) is None
