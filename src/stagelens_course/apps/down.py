"""Taking the applications away: exactly what `up` made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from docker.errors import APIError

from stagelens import engine as engines
from stagelens.errors import short_traceback_on_interrupt
from stagelens_course.apps.model import APPLICATIONS, Removed
from stagelens_course.apps.names import LABEL, Names, names_of

_STOP_SECONDS = 2


@short_traceback_on_interrupt()
def down(
    engine: engines.Engine | None = None, namespace: str | None = None, *, images: bool = False
) -> Removed:
    """Stop and remove the containers and the network that `up` made; with `images`, also the images' names.

    What has such a name and is somebody else's stays, and `Removed.kept` says so.
    """
    found = engine or engines.connect(start=False)
    names = names_of(namespace)
    containers = remove_containers(found, f"{LABEL}={names.network}")
    kept = [
        f"The container {name} was not made by stagelens: it is left alone." for name in _others(found, names)
    ]
    network = None
    for row in networks(found, names.network):
        ours = (row.get("Labels") or {}).get(LABEL) == names.network
        if not ours:
            kept.append(f"The network {names.network} was not made by stagelens: it is left alone.")
        elif reason := remove_network(found, row["Id"]):
            kept.append(f"The network {names.network} is left: {reason}")
        else:
            network = names.network
    tags = [names.image(definition.image) for definition in APPLICATIONS] if images else []
    return Removed(containers, network, tuple(tag for tag in tags if _untag(found, tag)), tuple(kept))


def remove_containers(engine: engines.Engine, label: str) -> tuple[str, ...]:
    """Stop and remove every container with a label (`name=value`), and give their names."""
    api = engine.api
    rows = api.containers(all=True, filters={"label": label})

    def remove(row: dict[str, Any]) -> str:
        with suppress(APIError):
            api.stop(row["Id"], timeout=_STOP_SECONDS)
        engines.remove_container(api, row["Id"])
        # One that is on its way out may have no name any more.
        return str((row["Names"] or [row["Id"][:12]])[0]).lstrip("/")

    with ThreadPoolExecutor(max(1, min(4, len(rows)))) as pool:
        return tuple(sorted(pool.map(remove, rows)))


def remove_network(engine: engines.Engine, identity: str) -> str | None:
    """Remove a network; None if it is gone, else the engine's reason."""
    try:
        engines.remove_network(engine.api, identity)
    except APIError as error:
        return str(error.explanation or error)
    return None


def networks(engine: engines.Engine, name: str) -> list[dict[str, Any]]:
    """The networks of that very name, ours first; the engine's own filter takes parts of names, too."""
    rows: list[dict[str, Any]] = [row for row in engine.api.networks(names=[name]) if row["Name"] == name]
    ours = [row for row in rows if (row.get("Labels") or {}).get(LABEL) == name]
    return ours + [row for row in rows if row not in ours]


def _others(engine: engines.Engine, names: Names) -> list[str]:
    wanted = {names.container(definition.name) for definition in APPLICATIONS}
    rows = engine.api.containers(all=True)
    return sorted(wanted & {name.lstrip("/") for row in rows for name in row.get("Names") or ()})


def _untag(engine: engines.Engine, tag: str) -> bool:
    try:
        engine.api.remove_image(tag, noprune=False)
    except APIError:
        return False
    return True
