"""Run the checks of a project on an engine: with a copy, and with a server for its downloads."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, nullcontext
from pathlib import Path

from stagelens.builds import BuildFailed
from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens_testing.world.checks import Checker, FileFacts, Result
from stagelens_testing.world.edits import Edit
from stagelens_testing.world.projects import REMOTE, Project, Workspace

_SERVER = """
import functools, http.server, sys

class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass

handler = functools.partial(Handler, directory=sys.argv[1])
with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as it:
    print(it.server_port, flush=True)
    it.serve_forever()
"""


class CannotBuild(Exception):
    """The project does not build as it is."""


def check_project(
    engine: Engine,
    project: Project,
    edits: Iterable[Edit] = (),
    note: Callable[[str], object] = lambda _: None,
    *,
    bases: dict[str, FileFacts] | None = None,
    namespace_pid: int | None = None,
    contents: int = 1,
    points: bool = True,
) -> Result:
    """Check one project, and return what was compared.

    Parameters
    ----------
    engine
        The engine that builds.
    project
        The project; its folder is not changed.
    edits
        The edits to make.
    note
        Called with what happens.
    bases
        Files of base images, which are exported once for all projects.
    namespace_pid
        A process in the engine's network namespace; None for this machine's.
    contents
        How many files' contents to compare.
    points
        Whether to compare the files after each instruction.

    Raises
    ------
    CannotBuild
        If the project does not build as it is.
    """
    with tempfile.TemporaryDirectory(prefix="world-") as name:
        folder = Path(name)
        served = folder / "served"
        served.mkdir()
        server = serve_folder(served, namespace_pid) if project.remote else nullcontext(REMOTE)
        with server as address:
            (folder / "copy").mkdir()
            token = f"w{secrets.token_hex(3)}"
            try:
                workspace = Workspace(project, folder / "copy", token, engine, address, served)
                checker = Checker(engine, workspace, bases)
                checker.build(note)
            except (BuildFailed, StagelensError) as error:
                raise CannotBuild(str(error)) from error
            if points:
                checker.compare_points(note, contents)
            checker.compare_edits(edits, note)
            return checker.result


@contextmanager
def serve_folder(folder: Path, namespace_pid: int | None) -> Generator[str]:
    """Serve a folder's files on the loopback address of a network namespace; yield the address."""
    inside = ["nsenter", f"--net=/proc/{namespace_pid}/ns/net"] if namespace_pid else []
    command = [*inside, sys.executable, "-c", _SERVER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().decode().strip()
            if not re.fullmatch(r"\d+", port):
                raise RuntimeError("the server for downloads did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
