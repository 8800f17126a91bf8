"""Only one program at a time starts a namespace; the lock file is removed afterwards."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stagelens_course.apps.model import AlreadyStarting
from stagelens_course.apps.starter import start_lock


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STAGELENS_HOME", str(tmp_path))
    return tmp_path / "cache"


def test_lock_excludes_only_the_same_namespace(cache: Path) -> None:
    with start_lock("nat"):
        with pytest.raises(AlreadyStarting, match="network nat"), start_lock("nat"):
            pass
        with start_lock("nat-other"):
            pass
    with start_lock("nat"):
        pass
    assert list(cache.glob("up-*")) == []


def test_only_one_of_many_threads_holds_the_lock(cache: Path) -> None:
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
