"""The commands `stagelens up`, `status`, `logs` and `down` for the three applications of the course."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

import click
from rich.markup import escape
from rich.table import Table

from stagelens.cli import engine_commands
from stagelens.cli.build import show_progress
from stagelens.cli.console import INTERRUPTED, err, out, print_json, spinner
from stagelens.engine import Engine
from stagelens.errors import as_typed
from stagelens.humanize import format_age
from stagelens_course import apps, images
from stagelens_course.apps.names import resource_names
from stagelens_course.cli.images import provide_images

AS = click.option(
    "--as",
    "namespace",
    metavar="NAME",
    help="A suffix for all names, so that many users can share one engine.",
)
ALL = click.option("--all", "everything", is_flag=True, help="Of every lesson and namespace.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_COLORS = {"healthy": "green", "unhealthy": "red", "unknown": "yellow"}


@click.command("up")
@AS
@click.option("--public", is_flag=True, help="Publish on all addresses of this machine, not just 127.0.0.1.")
@click.option("--build/--no-build", default=True, help="Build the images first.")
@JSON
def up_command(namespace: str | None, public: bool, build: bool, as_json: bool) -> None:
    """Start the three applications; wait until each answers."""
    engine = engine_commands.find_engine()
    if build:
        provide_images(engine, images.NAMES)
    try:
        with spinner("starting the applications") as update:
            app = apps.up(
                engine,
                namespace=namespace,
                public=public,
                build=build,
                report=update,
                on_vertex=lambda vertex, lines: show_progress(vertex, lines, update),
            )
    except KeyboardInterrupt:
        err.print("cancelled; the containers and the network were removed", style="yellow")
        raise click.exceptions.Exit(INTERRUPTED) from None
    _show(app, as_json)


@click.command("status")
@AS
@ALL
@JSON
def status_command(namespace: str | None, everything: bool, as_json: bool) -> None:
    """Show the state of each application; exit 0 only if all are healthy.

    --all lists what runs, started by any lesson or command, and exits 0.
    """
    engine = engine_commands.find_engine()
    if everything:
        _refuse_both(namespace)
        _show_running(apps.find_running(engine), as_json)
        return
    app = apps.status(engine, namespace)
    _show(app, as_json)
    if not as_json and all(service.state == "missing" for service in app.services):
        _mention_others(engine, app.namespace)
    raise click.exceptions.Exit(0 if app.healthy else 1)


@click.command("logs")
@click.argument("name", type=click.Choice([each.name for each in apps.APPLICATIONS]))
@AS
@click.option("--tail", type=click.IntRange(min=0), default=200, help="How many of the last lines.")
@click.option("--follow", "-f", is_flag=True, help="Continue with new lines until Ctrl-C.")
def logs_command(name: str, namespace: str | None, tail: int, follow: bool) -> None:
    """Show an application's log."""
    entries = apps.logs(
        name, engine=engine_commands.find_engine(), namespace=namespace, tail=tail, follow=follow
    )
    with suppress(KeyboardInterrupt):
        for entry in entries:
            moment = time.strftime("%H:%M:%S", time.localtime(entry.time))
            out.print(f"[dim]{moment}[/dim] {escape(entry.text)}", soft_wrap=True)


@click.command("down")
@AS
@ALL
@click.option("--images", "with_images", is_flag=True, help="Remove the images' tags, too.")
def down_command(namespace: str | None, everything: bool, with_images: bool) -> None:
    """Stop the applications and remove exactly what `up` made."""
    if everything:
        _refuse_both(namespace)
    engine = engine_commands.find_engine()
    with spinner("stopping the applications"):
        if everything:
            removed = apps.down_all(engine, images=with_images)
        else:
            removed = (apps.down(engine, namespace, images=with_images),)
    names = [
        name
        for each in removed
        for name in (*each.containers, *([each.network] if each.network else []), *each.images)
    ]
    out.print(f"removed {', '.join(names)}" if names else "there was nothing to remove", markup=False)
    for sentence in (sentence for each in removed for sentence in each.skipped):
        err.print(sentence, markup=False)
    if not names and not everything:
        _mention_others(engine, resource_names(namespace).namespace)


def _refuse_both(namespace: str | None) -> None:
    if namespace is not None:
        raise click.UsageError("--all and --as exclude each other.")


def _mention_others(engine: Engine, namespace: str | None) -> None:
    if any(one.namespace != namespace for one in apps.find_running(engine)):
        note = "note: other applications run: stagelens status --all (stagelens down --all removes them)"
        err.print(as_typed(note), style="yellow", markup=False, soft_wrap=True)


def _show_running(found: Sequence[apps.RunningApp], as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        out.print("nothing runs that the lessons or stagelens up started")
        return
    table = Table("started by", "age", "containers", "ports")
    for one in found:
        age = format_age(time.time() - one.started) if one.started else "-"
        containers = ", ".join(one.containers) or "only a network"
        ports = ", ".join(map(str, one.ports))
        table.add_row(*map(escape, (one.notebook or "stagelens up", age, containers, ports)))
    out.print(table)
    out.print(as_typed("Remove them: stagelens down --all"), markup=False, soft_wrap=True)


def _show(app: apps.App, as_json: bool) -> None:
    if as_json:
        print_json(_fields(app))
        return
    table = Table("container", "state", "health")
    table.add_column("address", no_wrap=True)
    for service in app.services:
        color = _COLORS[service.health]
        health = f"[{color}]{service.health}[/{color}]"
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
