"""`stagelens images`: the base images of the chapter, provided and listed."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.filesize import decimal
from rich.table import Table

from stagelens.cli.console import out, print_json, working
from stagelens.cli.engine import find
from stagelens_course import images as base_images


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--source",
    type=click.Choice(["auto", "pull", "replica"]),
    default="auto",
    help="Pull them, make replicas here, or what works.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def images(names: tuple[str, ...], source: base_images.ImageSource, as_json: bool) -> None:
    """Provide the base images of the lessons.

    NAMES are such as diamol/base; all five if none is given. Says where each came from.
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
