"""A grading container is removed, whatever comes while it is made."""

from __future__ import annotations

import pytest
from stagelens_testing.held import GivenUp

from stagelens.engine import Engine
from stagelens.grade.container import asker

pytestmark = pytest.mark.engine


def test_a_container_that_is_being_made_when_an_interrupt_comes_is_removed(
    engine: Engine, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine goes on with what it was asked for, whoever waits for the answer."""
    given_up = GivenUp(engine.api.create_container)
    monkeypatch.setattr(engine.api, "create_container", given_up)
    with pytest.raises(KeyboardInterrupt), asker(engine, {"org.stagelens.tests": unique}):
        pytest.fail("whoever asked for it was interrupted")
    given_up.end()
    assert not engine.api.containers(all=True, filters={"label": f"org.stagelens.tests={unique}"})
