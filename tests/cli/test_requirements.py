"""Programs of the operating system: installed with apt-get, whatever else happens on the machine."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest

from stagelens.cli import requirements


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="Debian or Ubuntu")
def test_another_programs_lock_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists/partial").mkdir(parents=True)
    places = {
        "State": tmp_path,
        "State::status": "/dev/null",
        "Cache": tmp_path,
        "Etc::sourcelist": "/dev/null",
    }
    options = [f"-oDir::{name}={place}" for name, place in (places | {"Etc::sourceparts": "-"}).items()]
    with (tmp_path / "lists/lock").open("w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        waited: list[float] = []

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            fcntl.lockf(held, fcntl.LOCK_UN)

        monkeypatch.setattr(requirements.time, "sleep", sleep)
        done = requirements._apt(["apt-get", *options, "update"])
    assert done.returncode == 0, done.stderr
    assert len(waited) == 1
