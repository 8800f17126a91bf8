"""Waiting works on a machine that stalls."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from stagelens.engine.private import limits, processes


def test_control_group_is_removed_after_its_last_process(tmp_path: Path, stalling: None) -> None:
    group = tmp_path / "group"
    (group / "process").mkdir(parents=True)
    last = threading.Timer(0.2, (group / "process").rmdir)
    last.start()
    limits._remove(group)
    last.join()
    assert not group.exists()


def test_kill_waits_for_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch, stalling: None) -> None:
    states = iter((["sleep"], ["sleep"], []))
    monkeypatch.setattr(processes, "command_line", lambda _: next(states))
    with subprocess.Popen(["sleep", "600"]) as doomed:
        processes.kill_all([doomed.pid])
    assert next(states, None) is None
