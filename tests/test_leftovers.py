"""The check at the end of each run (see conftest.py) sees what tests may leave behind."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stagelens.engine import LEASE_VARIABLE, Engine

TEST_THAT_LEAVES = """\
import subprocess, sys, tempfile
from pathlib import Path
from stagelens.engine import connect

def test_it(unique):
    folder = tempfile.mkdtemp(prefix="forgotten-")
    Path(folder, "inside").touch()
    Path(folder + ".log").write_text("a first line")
    connect(start=False).api.create_volume(unique + "-forgotten")
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # forgotten"])
    Path(__file__).with_name("pid").write_text(str(left.pid))
"""


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> dict[str, Callable[..., object]]:
    """What conftest.py defines; conftest modules cannot be imported by name."""
    path = str(Path(__file__).with_name("conftest.py"))
    return vars(
        next(p for p in request.config.pluginmanager.get_plugins() if getattr(p, "__file__", "") == path)
    )


@pytest.mark.engine
def test_the_listing_shows_each_kind(engine: Engine, unique: str, clean: object, shared) -> None:
    before = shared["listing"](engine.api)
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    engine.api.import_image_from_data(empty.getvalue(), repository=unique, tag="t")
    engine.api.create_network(unique)
    engine.api.create_volume(unique)
    engine.api.create_container(f"{unique}:t", ["/none"], name=unique)
    new = shared["listing"](engine.api) - before
    assert {thing for thing in new if unique in thing} == {
        f"container {unique}",
        f"image {unique}:t",
        f"network {unique}",
        f"volume {unique}",
    }


def test_on_a_shared_engine_only_this_runs_things_count(shared, tmp_path: Path, monkeypatch) -> None:
    runs = tmp_path / "runs"
    runs.write_text("1\n2\n")
    monkeypatch.setenv(LEASE_VARIABLE, str(runs))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    ours, theirs = f"image {shared['RUN']}x:latest", "image somebody:latest"
    assert shared["leftovers"]({"network a"}, {"network a", ours, theirs}, temporary) == [ours]
    runs.write_text("1\n")
    assert shared["leftovers"](set(), {ours, theirs}, temporary) == sorted([ours, theirs])


@pytest.mark.engine
def test_a_run_that_leaves_something_fails(engine: Engine, shared, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(Path(str(shared["__file__"])).read_text())
    (tmp_path / "test_it.py").write_text(TEST_THAT_LEAVES)
    support = f"-opythonpath={Path(__file__).with_name('support')}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", support, str(tmp_path)]
    # What is left stays, however long it is waited for.
    environment = os.environ | {"STAGELENS_TEST_PATIENCE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    left = done.stdout.partition("The tests left behind:")[2]
    for line in left.splitlines():
        if line.strip().startswith("volume"):
            engine.api.remove_volume(line.split()[1])
    assert done.returncode == 1, done.stdout
    assert "1 passed" in done.stdout
    # Each with what it is, and the test that it comes from.
    told = (
        r"volume \S+-forgotten of test_it.py::test_it",
        r"temporary forgotten-\w+: folder with inside, last written about when test_it.py::test_it ran",
        r"temporary forgotten-\w+.log: 12 bytes beginning with b'a first line', last written about when",
        r"process \d+ .*# forgotten: started about when test_it.py::test_it ran",
    )
    assert [words for words in told if not re.search(words, left)] == [], left
