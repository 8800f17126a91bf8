"""What goes in a moment is waited for on a machine that stands still meanwhile, too."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from stagelens.engine import limits, processes


def test_a_control_group_is_removed_once_its_last_process_has_gone(tmp_path: Path, stalling: None) -> None:
    group = tmp_path / "group"
    (group / "process").mkdir(parents=True)
    last = threading.Timer(0.2, (group / "process").rmdir)
    last.start()
    limits._remove(group)
    last.join()
    assert not group.exists()


def test_a_process_that_is_killed_is_waited_for(monkeypatch: pytest.MonkeyPatch, stalling: None) -> None:
    states = iter((["sleep"], ["sleep"], []))
    monkeypatch.setattr(processes, "arguments", lambda _: next(states))
    with subprocess.Popen(["sleep", "600"]) as doomed:
        processes.end([doomed.pid])
    assert next(states, None) is None
