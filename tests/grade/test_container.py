"""A grading container is removed, whatever comes while it is made."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

from stagelens.engine import Engine
from stagelens.grade.container import asker

pytestmark = pytest.mark.engine


def test_a_container_that_is_being_made_when_an_interrupt_comes_is_removed(
    engine: Engine, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine goes on with what it was asked for, whoever waits for the answer."""
    create = engine.api.create_container

    def interrupted(*given: Any, **settings: Any) -> None:
        making = threading.Thread(target=lambda: (time.sleep(0.5), create(*given, **settings)))
        making.start()
        time.sleep(0.2)  # whoever began it waits by now
        os.kill(os.getpid(), signal.SIGINT)
        making.join()

    monkeypatch.setattr(engine.api, "create_container", interrupted)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), asker(engine, {"org.stagelens.tests": unique}):
        pytest.fail("it was made, whatever came")
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert not engine.api.containers(all=True, filters={"label": f"org.stagelens.tests={unique}"})
