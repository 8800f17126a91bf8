"""Atomic writes, and the removal of what killed programs left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stagelens.paths import atomic_write, atomic_write_text

KILLED = """
import os, sys
from pathlib import Path
from stagelens.paths import atomic_write
with atomic_write(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), 9)
"""


def test_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "new"


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file", "old")]


def test_temporary_file_of_a_killed_program_is_removed_after_a_day(tmp_path: Path) -> None:
    path = tmp_path / "file"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    for age, names in ((0, {left.name, "file"}), (25 * 3600, {"file"})):
        os.utime(left, (time.time() - age,) * 2)
        with atomic_write(path) as file:
            file.write(b"whole")
        assert {each.name for each in tmp_path.iterdir()} == names


def test_exclusive_write_removes_leftovers_at_once(tmp_path: Path) -> None:
    (tmp_path / ".new-file").write_text("half")
    atomic_write_text(tmp_path / "file", "whole", exclusive=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_replaced_file_keeps_its_permissions_and_can_be_backed_up(tmp_path: Path) -> None:
    path, backup = tmp_path / "file", tmp_path / "file.before"
    path.write_text("old")
    path.chmod(0o640)
    atomic_write_text(path, "new \ud800", backup=backup)
    assert (path.read_text(), backup.read_text()) == ("new ?", "old")
    assert path.stat().st_mode & 0o777 == 0o640
    with atomic_write(tmp_path / "private") as file:
        file.write(b"new")
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
