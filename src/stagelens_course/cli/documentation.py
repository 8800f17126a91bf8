"""`stagelens docs`: the documentation site, built from docs/ and the docstrings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from stagelens.cli.console import err, out
from stagelens.errors import StagelensError
from stagelens_course.folder import shipped_files


@click.command("docs")
@click.option(
    "--out", "out_dir", type=click.Path(path_type=Path), default=Path("out/docs"), help="Where the site goes."
)
def docs_command(out_dir: Path) -> None:
    """Build the documentation site; a warning is an error."""
    source = shipped_files() / "docs"
    if not (source / "conf.py").is_file():
        raise StagelensError(
            "The documentation's sources are not in this installation.",
            remedy="run ./stagelens docs in a clone of the project",
        )
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", source, out_dir]
    if subprocess.run(command, check=False).returncode:
        err.print("the site has warnings", style="red")
        raise click.exceptions.Exit(1)
    out.print(str(out_dir / "index.html"), markup=False, soft_wrap=True)
