"""The command `stagelens images`, and the provision of base images for other commands."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict

import click
from rich.filesize import decimal
from rich.table import Table

from stagelens.cli import engine_commands, requirements
from stagelens.cli.console import out, print_json, spinner
from stagelens.engine import Engine
from stagelens_course import images as base_images

_REPLICAS = (requirements.Program("debootstrap", "debootstrap"),)


@click.command("images")
@click.argument("names", nargs=-1)
@click.option(
    "--source",
    type=click.Choice(["auto", "pull", "replica"]),
    default="auto",
    help="Pull the images, make replicas, or try both.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def images_command(names: tuple[str, ...], source: base_images.ImageSource, as_json: bool) -> None:
    """Provide the base images of the lessons.

    NAMES are image names such as diamol/base; by default all five. Prints the origin of each.
    """
    engine = engine_commands.find_engine()
    with spinner("looking for the base images") as report:
        rows = base_images.ensure(engine, names or None, source, report)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    table = Table("image", "origin", "unpacked", "id")
    for row in rows:
        table.add_row(
            row.name, row.origin, decimal(row.size), (row.image_id or "").removeprefix("sha256:")[:12]
        )
    out.print(table)


def provide_images(engine: Engine, names: Iterable[str] | None = None) -> None:
    """Provide base images, with their progress on the terminal.

    Parameters
    ----------
    engine
        The engine that needs them.
    names
        Names such as `diamol/base`; all by default.
    """
    names = base_images.NAMES if names is None else tuple(names)
    _provide_replica_tools(engine, names)
    with spinner("base images") as report:
        base_images.ensure(engine, names, report=report)


def _provide_replica_tools(engine: Engine, names: Iterable[str]) -> None:
    """Install debootstrap if one of these base images is missing and this user may install it.

    Other users get no error, since the images may still be pulled. diamol/base does not need debootstrap.
    """
    wanted = set(names) - {"diamol/base"}
    missing = [
        row.name for row in base_images.describe(engine) if row.origin == "missing" and row.name in wanted
    ]
    if missing and sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get"):
        requirements.ensure_installed(_REPLICAS)
