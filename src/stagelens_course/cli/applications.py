"""`stagelens up`, `status`, `logs` and `down`: the three applications of the chapter in a terminal."""

from __future__ import annotations

import time
from contextlib import suppress

import click
from rich.markup import escape
from rich.table import Table

from stagelens.builds import LogLine, Vertex
from stagelens.cli import engine as engine_commands
from stagelens.cli.console import INTERRUPTED, err, out, print_json, working
from stagelens_course import apps, images
from stagelens_course.cli.images import provide_replica_tools

AS = click.option(
    "--as", "namespace", metavar="NAME", help="Names of your own, so that many can share one engine."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_COLOURS = {"healthy": "green", "unhealthy": "red", "unknown": "yellow"}


@click.command()
@AS
@click.option("--public", is_flag=True, help="Publish on all addresses of this machine, not just 127.0.0.1.")
@click.option("--build/--no-build", default=True, help="Build the images first.")
@JSON
def up(namespace: str | None, public: bool, build: bool, as_json: bool) -> None:
    """Start the three applications; wait until each answers."""
    engine = engine_commands.find()
    if build:
        provide_replica_tools(engine, images.NAMES)
    try:
        with working("starting the applications") as say:
            app = apps.up(
                engine,
                namespace=namespace,
                public=public,
                build=build,
                report=say,
                on_vertex=lambda vertex, lines: say(_line(vertex, lines)),
            )
    except KeyboardInterrupt:
        err.print("stopped; containers and network are removed again", style="yellow")
        raise click.exceptions.Exit(INTERRUPTED) from None
    _show(app, as_json)


@click.command()
@AS
@JSON
def status(namespace: str | None, as_json: bool) -> None:
    """Say how each application is; exit 0 only if all are well."""
    app = apps.status(engine_commands.find(), namespace)
    _show(app, as_json)
    raise click.exceptions.Exit(0 if app.healthy else 1)


@click.command()
@click.argument("name", type=click.Choice([each.name for each in apps.APPLICATIONS]))
@AS
@click.option("--tail", type=click.IntRange(min=0), default=200, help="How many of the last lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on with new lines, until Ctrl-C.")
def logs(name: str, namespace: str | None, tail: int, follow: bool) -> None:
    """Show an application's log."""
    entries = apps.logs(name, engine=engine_commands.find(), namespace=namespace, tail=tail, follow=follow)
    with suppress(KeyboardInterrupt):
        for entry in entries:
            moment = time.strftime("%H:%M:%S", time.localtime(entry.time))
            out.print(f"[dim]{moment}[/dim] {escape(entry.text)}", soft_wrap=True)


@click.command()
@AS
@click.option("--images", "with_images", is_flag=True, help="Remove the images' names, too.")
def down(namespace: str | None, with_images: bool) -> None:
    """Stop the applications and remove exactly what `up` made."""
    engine = engine_commands.find()
    with working("stopping the applications"):
        removed = apps.down(engine, namespace, images=with_images)
    things = [*removed.containers, *([removed.network] if removed.network else []), *removed.images]
    out.print(f"removed {', '.join(things)}" if things else "there was nothing to remove", markup=False)
    for sentence in removed.skipped:
        err.print(sentence, markup=False)


def _line(vertex: Vertex, lines: tuple[LogLine, ...]) -> str:
    return lines[-1].text if lines else vertex.name


def _show(app: apps.App, as_json: bool) -> None:
    if as_json:
        print_json(_fields(app))
        return
    table = Table("container", "state", "health")
    table.add_column("address", no_wrap=True)
    for service in app.services:
        colour = _COLOURS[service.health]
        health = f"[{colour}]{service.health}[/{colour}]"
        container, state, url = map(escape, (service.container, service.state, service.url or ""))
        table.add_row(container, state, health, url)
    out.print(table)
    for service in app.services:
        if service.note:
            err.print(
                f"note: {service.container}: {service.note}", style="yellow", markup=False, soft_wrap=True
            )


def _fields(app: apps.App) -> dict[str, object]:
    return {
        "namespace": app.namespace,
        "network": app.network,
        "healthy": app.healthy,
        "services": [
            {
                "name": service.name,
                "image": service.image,
                "container": service.container,
                "state": service.state,
                "health": service.health,
                "url": service.url,
                "note": service.note,
                "ours": service.ours,
            }
            for service in app.services
        ],
    }
