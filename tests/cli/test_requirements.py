"""Installing programs of the operating system with apt-get."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest

from stagelens.cli import requirements


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="Debian or Ubuntu")
def test_apt_get_waits_for_another_programs_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists/partial").mkdir(parents=True)
    options = {
        "State": tmp_path,
        "State::status": "/dev/null",
        "Cache": tmp_path,
        "Etc::sourcelist": "/dev/null",
    }
    arguments = [f"-oDir::{name}={path}" for name, path in (options | {"Etc::sourceparts": "-"}).items()]
    with (tmp_path / "lists/lock").open("w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        waited: list[float] = []

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            fcntl.lockf(held, fcntl.LOCK_UN)

        monkeypatch.setattr(requirements.time, "sleep", sleep)
        done = requirements._apt(["apt-get", *arguments, "update"])
    assert done.returncode == 0, done.stderr
    assert len(waited) == 1
