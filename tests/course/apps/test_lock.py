"""One program at a time for a namespace, and no file of it afterwards."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stagelens_course.apps.errors import AlreadyStarting
from stagelens_course.apps.starter import start_lock


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STAGELENS_HOME", str(tmp_path))
    return tmp_path / "cache"


def test_another_namespace_may_start_meanwhile(cache: Path) -> None:
    with start_lock("nat"):
        with pytest.raises(AlreadyStarting, match="network nat"), start_lock("nat"):
            pass
        with start_lock("nat-other"):
            pass
    with start_lock("nat"):
        pass
    assert list(cache.glob("up-*")) == []


def test_many_at_once_are_never_two(cache: Path) -> None:
    inside = threading.Semaphore(1)

    def attempt(_: int) -> int:
        try:
            with start_lock("nat"):
                assert inside.acquire(blocking=False)
                time.sleep(0)
                inside.release()
        except AlreadyStarting:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(400)))
    assert list(cache.glob("up-*")) == []
