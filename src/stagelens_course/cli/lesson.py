"""The command `stagelens run`: execute a lesson without a browser, and write it with an HTML page."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import closing
from pathlib import Path

import click

from stagelens.cli import engine_commands
from stagelens.cli.console import out, spinner
from stagelens.concurrency import run_cancellable
from stagelens.errors import StagelensError
from stagelens_course import images
from stagelens_course.cli.images import provide_images
from stagelens_course.folder import course_folder, find_lesson


@click.command("run")
@click.argument("name")
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path),
    default=Path("out"),
    help="The folder for the results.",
)
@click.option("--language", default="en", help="The lesson's language.")
def run_command(name: str, out_dir: Path, language: str) -> None:
    """Execute a lesson without a browser.

    NAME is a lesson such as 01-multi-stage or 1, or a notebook's path. The executed notebook and an HTML
    page are written.
    """
    # Slow imports, which no other command should wait for.
    from jupyter_client.kernelspec import NoSuchKernel
    from papermill.exceptions import PapermillExecutionError

    source = find_lesson(name, course_folder(), language)
    engine = engine_commands.find_engine()
    provide_images(engine, images.LESSON_IMAGES.get(source.stem))
    os.environ["DOCKER_HOST"] = engine.address
    out_dir.mkdir(parents=True, exist_ok=True)
    executed = out_dir / f"{source.stem}.ipynb"
    with spinner(f"running {source.stem}"):
        try:
            _execute(source, executed)
        except PapermillExecutionError as error:
            raise StagelensError(
                f"Cell {error.exec_count} of {source.name} failed.",
                where=str(executed),
                why=f"{error.ename}: {error.evalue}",
                remedy="open the executed notebook, which has the cell and its whole error",
            ) from None
        except (NoSuchKernel, ValueError, RuntimeError) as error:
            raise StagelensError(
                "The notebook cannot be run.",
                where=str(source),
                why=str(error)[:500],
                remedy="open it with stagelens lab, choose a kernel there, and save it",
            ) from None
    page = executed.with_suffix(".html")
    page.write_text(static_page(executed), encoding="utf-8")
    out.print(str(executed), markup=False, soft_wrap=True)
    out.print(str(page), markup=False, soft_wrap=True)


def _execute(source: Path, executed: Path) -> None:
    """Run a notebook in its folder; a signal interrupts the running cell, so that it can clean up."""
    from stagelens_course.classroom.runner.warm_kernel import WarmKernel

    with tempfile.TemporaryDirectory(prefix="stagelens-run-", ignore_cleanup_errors=True) as folder:
        kernel = WarmKernel(Path(folder), source.parent)

        def work(_: object) -> None:
            with closing(kernel):
                kernel.run(str(source), executed, {}, timeout=None)

        run_cancellable(work, kernel.stop)


def static_page(executed: Path) -> str:
    """Return an executed notebook as an HTML page without scripts and external resources.

    The page shows the static fallbacks of widgets.
    """
    import nbformat
    from nbconvert import HTMLExporter

    notebook = nbformat.read(executed, 4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    body, _ = HTMLExporter().from_notebook_node(notebook)
    # The scripts of the template; the outputs have escaped untrusted text.
    return re.sub(r"<script\b.*?</script>", "", body, flags=re.DOTALL)
