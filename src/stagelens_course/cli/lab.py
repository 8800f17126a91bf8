"""`stagelens lab`: an engine, the first lesson's images, and JupyterLab on the first notebook."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import click

from stagelens import engine as engines
from stagelens.cli import engine as engine_commands
from stagelens.cli import requirements
from stagelens.cli.console import err, working
from stagelens.concurrency import defer_signals
from stagelens.errors import StagelensError
from stagelens_course import images

ROOT = Path(__file__).parents[3]
FIRST = Path("notebooks/en/01-multi-stage.ipynb")


def _inside(notebook: Path) -> Path:
    """The notebook's path below the checkout; a relative one is looked for here, then in the checkout."""
    for place in (Path.cwd() / notebook, ROOT / notebook):
        if place.is_file() and place.resolve().is_relative_to(ROOT):
            return place.resolve().relative_to(ROOT)
    raise StagelensError("The checkout has no such notebook.", where=str(notebook), remedy="ls notebooks/en")


@click.command()
@click.argument("notebook", type=click.Path(path_type=Path), default=FIRST)
@click.option("--no-browser", is_flag=True, help="Print the address instead.")
@click.option("--port", type=click.IntRange(1, 65535), default=8888, help="The first port to try.")
def lab(notebook: Path, no_browser: bool, port: int) -> None:
    """Open JupyterLab on the first lesson.

    NOTEBOOK is another one to open. Only this machine can reach it, and only with its token.
    """
    notebook = _inside(notebook)
    engine = engine_commands.find()
    err.print(f"engine {engine.info.version}: {engine.origin}", markup=False)
    needed = images.LESSON_IMAGES.get(notebook.stem, images.NAMES)
    requirements.provide_replica_tools(engine, needed)
    with working("base images") as report:
        images.ensure(engine, needed, report=report)
    command = [
        # -P: nothing is imported from the folder that it starts in.
        *(sys.executable, "-P", "-m", "jupyterlab", "--log-level=WARN"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", f"--ServerApp.root_dir={ROOT}"),
        # The address that is printed or opened, with its token, is the notebook's.
        f"--LabApp.default_url=/lab/tree/{quote(notebook.as_posix())}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *(["--no-browser"] if no_browser else []),
        # A lesson begins without questions about news and updates.
        # Jupyter refuses root unless told; on a course machine root is often who runs the engine.
        *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    ]
    code = _serve(command, os.environ | {"DOCKER_HOST": engine.address})
    if engine.address == engines.private_engine().address:
        err.print("the private engine goes on; stop it with: ./stagelens engine stop")
    raise click.exceptions.Exit(0 if code in (0, -15) else code)


def _serve(command: list[str], environment: dict[str, str]) -> int:
    """Run Jupyter until it ends, or Ctrl-C ends it; its exit code."""
    process: subprocess.Popen[bytes] | None = None
    try:
        # An interrupt within could leave a Jupyter that nobody knows of.
        with defer_signals():
            process = subprocess.Popen(command, cwd=ROOT, env=environment)
        return process.wait()
    except BaseException as error:
        # Without a terminal, or when told to end, Jupyter must not outlive us. Ctrl-C reaches it, too:
        # SIGTERM spares its question whether it is meant.
        code = 0
        if process is not None:
            process.terminate()
            code = process.wait()
        if isinstance(error, KeyboardInterrupt):
            return code
        raise
