"""`stagelens images`: the base images of the chapter, provided and listed."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.table import Table

from stagelens import images as base_images
from stagelens.cli.console import out, working
from stagelens.cli.engine import find


class From(StrEnum):
    """Where images may come from."""

    AUTO = "auto"
    PULL = "pull"
    REPLICA = "replica"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(images)


def images(
    names: Annotated[list[str] | None, typer.Argument(help="Such as diamol/base; all five if none.")] = None,
    source: Annotated[From, typer.Option(help="Pull them, make replicas here, or what works.")] = From.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Provide the base images of the lessons, and say where each came from."""
    engine = find()
    with working("looking for the base images") as report:
        rows = base_images.ensure(engine, names or None, source.value, report)
    if as_json:
        out.print_json(json.dumps([asdict(row) for row in rows]))
        return
    table = Table("image", "origin", "size", "id")
    for row in rows:
        table.add_row(
            row.name, row.origin, decimal(row.size), (row.image_id or "").removeprefix("sha256:")[:12]
        )
    out.print(table)
