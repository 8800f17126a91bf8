"""The start and the exit of the `stagelens` command."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from stagelens.engine import Engine

START = """
import os, signal, sys
class Stop:
    def find_spec(self, name, *_):
        if name == "stagelens.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Stop())
from stagelens_course.__main__ import main
main()
"""


def test_ctrl_c_during_imports_exits_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


IMPORTS = """
import sys
sys.argv = ["stagelens", *sys.argv[1:]]
try:
    from stagelens_course.__main__ import main
    main()
finally:
    slow = {"docker", "paramiko", "requests", "urllib3", "asyncio"}
    print(sorted(slow & sys.modules.keys()), file=sys.stderr)
"""


@pytest.mark.engine
@pytest.mark.skipif(sys.platform == "win32", reason="needs a Unix socket")
def test_build_on_a_unix_socket_imports_no_slow_client(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY a /\n")
    (tmp_path / "a").touch()
    command = [sys.executable, "-c", IMPORTS, "build", str(tmp_path), "-o", str(tmp_path / "out")]
    environment = os.environ | {"DOCKER_HOST": engine.address}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "[]")


LATE = """
import atexit, os, signal
import stagelens.cli as cli
atexit.register(lambda: [os.kill(os.getpid(), number) for number in (1, 2, 15)])
cli.app.main = lambda **_: 3
cli.main()
"""


def test_signal_during_interpreter_exit_changes_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


def test_installed_script_is_this_command() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    module, _, name = project["project"]["scripts"]["stagelens"].partition(":")
    assert module == "stagelens_course.__main__"
    assert callable(getattr(importlib.import_module(module), name))
    assert (
        f"src/{module.partition('.')[0]}" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    )
