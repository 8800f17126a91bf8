"""Read the state, address and health of each application's container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from stagelens import engine as engines
from stagelens.errors import short_traceback_on_interrupt
from stagelens_course import timeouts
from stagelens_course.apps.http_requests import fetch
from stagelens_course.apps.model import APPLICATIONS, App, Health, NotRunning, RunningApp, Service
from stagelens_course.apps.names import (
    APP_LABEL,
    NETWORK,
    NOTE_LABEL,
    NOTEBOOK_LABEL,
    OWNER_LABEL,
    SERVICE_LABEL,
    ResourceNames,
    owner,
    resource_names,
)
from stagelens_course.apps.ports import reachable_host

_PORT = 80
_FOREIGN = "not made by stagelens, which leaves it alone"


@short_traceback_on_interrupt()
def status(engine: engines.Engine | None = None, namespace: str | None = None) -> App:
    """Return the state of the applications; each that runs must answer a request for its health soon.

    Parameters
    ----------
    engine
        The engine that they run on; by default the one that `stagelens.engine.connect` finds.
    namespace
        The namespace that they were started in, see `up`.

    Returns
    -------
    App
        The applications; those without a container are "missing".
    """
    found = engine or engines.connect(start=False)
    return add_health(read_state(found, resource_names(namespace)))


def find_running(engine: engines.Engine | None = None) -> tuple[RunningApp, ...]:
    """Find what `up` left on the engine in any namespace, the oldest first.

    On a JupyterHub, whose users may share an engine, only what its user started is found.

    Parameters
    ----------
    engine
        The engine to ask; by default the one that `stagelens.engine.connect` finds.

    Returns
    -------
    tuple
        What is there in each namespace.
    """
    api = (engine or engines.connect(start=False)).api
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for network in api.networks(filters={"label": APP_LABEL}):
        if (_label(network, OWNER_LABEL) or "") == owner():
            rows.setdefault(str(_label(network, APP_LABEL)), [])
    for row in api.containers(all=True, filters={"label": APP_LABEL}):
        if (_label(row, OWNER_LABEL) or "") == owner():
            rows.setdefault(str(_label(row, APP_LABEL)), []).append(row)
    found = [_running_app(network, containers) for network, containers in rows.items()]
    return tuple(sorted(found, key=lambda one: (one.started or 0, one.namespace or "")))


def _running_app(network: str, rows: Sequence[Mapping[str, Any]]) -> RunningApp:
    names = [str((row.get("Names") or [str(row["Id"])[:12]])[0]).lstrip("/") for row in rows]
    ports = {port.get("PublicPort") for row in rows for port in row.get("Ports") or ()}
    return RunningApp(
        network.removeprefix(NETWORK).removeprefix("-") or None,
        next((text for row in rows if (text := _label(row, NOTEBOOK_LABEL))), ""),
        min((int(row["Created"]) for row in rows), default=None),
        tuple(sorted(names)),
        tuple(sorted(port for port in ports if port)),
    )


def read_state(engine: engines.Engine, names: ResourceNames) -> App:
    """Return the state of the applications on the engine, without their health."""
    rows = engine.api.containers(all=True)
    ours = {_label(row, SERVICE_LABEL): row for row in rows if _label(row, APP_LABEL) == names.network}
    others = {name.lstrip("/"): row for row in rows for name in row.get("Names") or ()}
    if names.namespace is None:
        # The last command of the chapter names no container: recognize it by its image.
        others = {
            str(row["Image"]).removesuffix(":latest"): row for row in rows if not _label(row, APP_LABEL)
        } | others
    services: list[Service] = []
    for spec in APPLICATIONS:
        name, container = spec.name, names.container(spec.name)
        row = ours.pop(name, None) or others.get(container)
        if row is None:
            services.append(Service(name, names.image(spec.image), container, "missing"))
        else:
            services.append(_service(engine, row, name, container))
    further = [_service(engine, row, name, names.container(name)) for name, row in ours.items() if name]
    return App(names.namespace, names.network, tuple(services + further), engine)


def add_health(app: App) -> App:
    """Return the applications with the health of each, from a request to its health address."""
    health = {spec.name: spec.health for spec in APPLICATIONS}

    def with_health(service: Service) -> Service:
        path = health.get(service.name, "/health")
        return replace(service, health=_health(app, service, path))

    with ThreadPoolExecutor(max(1, len(app.services))) as pool:
        return replace(app, services=tuple(pool.map(with_health, app.services)))


def _health(app: App, service: Service, path: str) -> Health:
    if service.state != "running":
        return "unknown" if service.state == "missing" else "unhealthy"
    try:
        answer = fetch(app, path, service=service.name, timeout=timeouts.current.application_health)
    except NotRunning:
        return "unhealthy"
    return "healthy" if answer.status == 200 else "unhealthy"


def _label(row: Mapping[str, Any], label: str) -> str | None:
    return (row.get("Labels") or {}).get(label)


def _service(engine: engines.Engine, row: Mapping[str, Any], name: str, container: str) -> Service:
    ours = _label(row, APP_LABEL) is not None
    return Service(
        name,
        str(row.get("Image", "")),
        container,
        str(row.get("State", "unknown")),
        url=_url(engine, row),
        note=(_label(row, NOTE_LABEL) or "") if ours else _FOREIGN,
        ours=ours,
    )


def _url(engine: engines.Engine, row: Mapping[str, Any]) -> str | None:
    for port in row.get("Ports") or ():
        if port.get("PrivatePort") == _PORT and port.get("PublicPort"):
            public = port.get("IP") not in ("127.0.0.1", "::1")
            host = reachable_host(engine.address, public)
            return f"http://{host}:{port['PublicPort']}" if host else None
    return None
