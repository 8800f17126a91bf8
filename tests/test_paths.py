"""A file is replaced whole or not at all, and what killed programs have left goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stagelens.paths import replacing

KILLED = """
import os, sys
from pathlib import Path
from stagelens.paths import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), 9)
"""


def test_what_is_written_takes_the_place_at_the_end(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("old")
    with replacing(place) as file:
        file.write(b"new")
        assert place.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert place.read_text() == "new"


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("old")

    def fail() -> None:
        with replacing(place) as file:
            file.write(b"half")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_what_a_killed_program_left_goes_after_a_day(tmp_path: Path) -> None:
    place = tmp_path / "file"
    done = subprocess.run([sys.executable, "-c", KILLED, str(place)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    for age, names in ((0, {left.name, "file"}), (25 * 3600, {"file"})):
        os.utime(left, (time.time() - age,) * 2)
        with replacing(place) as file:
            file.write(b"whole")
        assert {path.name for path in tmp_path.iterdir()} == names
