"""The command `stagelens docs`: build the documentation site from docs/ and the docstrings."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from stagelens.cli.console import err, out
from stagelens.errors import StagelensError
from stagelens_course.folder import shipped_files


@click.command("docs")
@click.option(
    "--out", "out_dir", type=click.Path(path_type=Path), default=Path("out/docs"), help="The site's folder."
)
def docs_command(out_dir: Path) -> None:
    """Build the documentation site; a warning is an error."""
    source = shipped_files() / "docs"
    if not (source / "conf.py").is_file():
        raise StagelensError(
            "The sources of the documentation are only in a clone of the project.",
            remedy="run in a clone: ./stagelens docs",
        )
    if find_spec("sphinx") is None:
        raise StagelensError(
            "Sphinx is not installed.", remedy="run in the clone, which installs it: ./stagelens docs"
        )
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", source, out_dir]
    if subprocess.run(command, check=False).returncode:
        err.print("the site has errors or warnings", style="red")
        raise click.exceptions.Exit(1)
    out.print(str(out_dir / "index.html"), markup=False, soft_wrap=True)
