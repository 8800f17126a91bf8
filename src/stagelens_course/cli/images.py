"""`stagelens images`: the base images of the course, provided and listed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict

import click
from rich.filesize import decimal
from rich.table import Table

from stagelens.cli import requirements
from stagelens.cli.console import out, print_json, working
from stagelens.cli.engine import find
from stagelens.engine import Engine
from stagelens_course import images as base_images

_REPLICAS = (requirements.Program("debootstrap", "debootstrap"),)


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--source",
    type=click.Choice(["auto", "pull", "replica"]),
    default="auto",
    help="Pull them, build replicas here, or whichever works.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def images(names: tuple[str, ...], source: base_images.ImageSource, as_json: bool) -> None:
    """Provide the base images of the lessons.

    NAMES are such as diamol/base; the default is all five. Prints where each came from.
    """
    engine = find()
    with working("looking for the base images") as report:
        rows = base_images.ensure(engine, names or None, source, report)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    table = Table("image", "origin", "size", "id")
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
    provide_replica_tools(engine, names)
    with working("base images") as report:
        base_images.ensure(engine, names, report=report)


def provide_replica_tools(engine: Engine, names: Iterable[str]) -> None:
    """Install debootstrap if one of these base images is missing and this user may install it.

    Elsewhere nothing is reported: the images may still be pulled. diamol/base is made without it.
    """
    wanted = set(names) - {"diamol/base"}
    missing = [
        row.name for row in base_images.describe(engine) if row.origin == "missing" and row.name in wanted
    ]
    if missing and sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get"):
        requirements.provide(_REPLICAS)
