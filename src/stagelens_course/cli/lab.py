"""The command `stagelens lab`: provide an engine and images, and open JupyterLab on a lesson."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from subprocess import TimeoutExpired
from urllib.parse import quote

import click

from stagelens import engine as engines
from stagelens.cli import engine_commands
from stagelens.cli.console import err
from stagelens.concurrency import defer_signals
from stagelens.errors import StagelensError, as_typed
from stagelens_course import images, timeouts
from stagelens_course.cli.images import provide_images
from stagelens_course.folder import describe, find_lesson, provide

FIRST_LESSON = "01-multi-stage"


@click.command("lab")
@click.argument("lesson", default=FIRST_LESSON)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The course folder; by default the current one, else ./stagelens-course.",
)
@click.option("--no-browser", is_flag=True, help="Print the address instead.")
@click.option("--port", type=click.IntRange(1, 65535), default=8888, help="The first port to try.")
def lab_command(lesson: str, folder: Path | None, no_browser: bool, port: int) -> None:
    """Open JupyterLab on the first lesson.

    The course's files are copied to the course folder first, unless they are there; a file that you changed
    is never overwritten. LESSON is another lesson to open, such as 6 or 06-exercise, or a notebook's path.
    Only this machine can reach JupyterLab, and only with its token.
    """
    _require_jupyterlab()
    found = provide(folder)
    for line in describe(found):
        err.print(line, markup=False, soft_wrap=True)
    root = found.folder.resolve()
    notebook = _relative_path(root, lesson)
    engine = engine_commands.find_engine()
    err.print(f"engine {engine.info.version}: {engine.origin}", markup=False)
    provide_images(engine, images.LESSON_IMAGES.get(notebook.stem, images.NAMES))
    command = [
        # -P: import nothing from the working folder.
        *(sys.executable, "-P", "-m", "jupyterlab", "--log-level=WARN"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", f"--ServerApp.root_dir={root}"),
        # Makes the address that is printed or opened that of the notebook.
        f"--LabApp.default_url=/lab/tree/{quote(notebook.as_posix())}",
        # No questions about news and updates.
        *("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"),
        *(["--no-browser"] if no_browser else []),
        # Jupyter refuses root by default, but on a course machine root often runs the engine.
        *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    ]
    private = engine.address == engines.private_engine().address
    if private:
        hint = 'to use docker with it in another terminal: eval "$(stagelens env)"'
        err.print(as_typed(hint), markup=False, soft_wrap=True)
    # Its terminals find this environment's programs: stagelens, pytest.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    code = _serve(command, root, os.environ | {"DOCKER_HOST": engine.address, "PATH": path})
    if private:
        err.print(
            as_typed("the private engine keeps running; stop it with: stagelens engine stop"), markup=False
        )
    raise click.exceptions.Exit(0 if code in (0, -15) else code)


def _require_jupyterlab() -> None:
    if find_spec("jupyterlab") is None:
        raise StagelensError(
            "JupyterLab is not installed.",
            why="it belongs to the course, and only the library was installed",
            remedy='pip install "stagelens[course]"',
        )


def _relative_path(root: Path, lesson: str) -> Path:
    """Return the path of a lesson below the course folder, which is all that JupyterLab serves."""
    path = find_lesson(lesson, root)
    if not path.is_relative_to(root):
        raise StagelensError(
            "The notebook is not in the course folder.",
            where=str(path),
            remedy=f"copy it to {root}, then run this again",
        )
    return path.relative_to(root)


def _serve(command: list[str], root: Path, environment: dict[str, str]) -> int:
    """Run Jupyter until it ends or Ctrl-C ends it; return its exit code."""
    process: subprocess.Popen[bytes] | None = None
    try:
        # An interrupt in here could leave a Jupyter process behind.
        with defer_signals():
            process = subprocess.Popen(command, cwd=root, env=environment)
        return process.wait()
    except BaseException as error:
        # Jupyter must not outlive this process. Ctrl-C reaches it, too; SIGTERM ends it without its question
        # whether to stop.
        code = 0
        if process is not None:
            code = _end(process)
        if isinstance(error, KeyboardInterrupt):
            return code
        raise


def _end(process: subprocess.Popen[bytes]) -> int:
    """End Jupyter, which loses a signal that arrives before its event loop runs; return its exit code."""
    while True:
        process.terminate()
        with suppress(TimeoutExpired):
            return process.wait(timeouts.current.jupyter_end)
