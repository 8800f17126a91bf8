"""What runs now: each application's container, address and health, from the engine and from itself."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from stagelens import engine as engines
from stagelens.errors import short_traceback_on_interrupt
from stagelens_course.apps.errors import NotRunning
from stagelens_course.apps.http_requests import fetch
from stagelens_course.apps.model import APPLICATIONS, App, Health, Service
from stagelens_course.apps.names import LABEL, NOTE, SERVICE, Names, names_of
from stagelens_course.apps.ports import host_of

HEALTH_SECONDS = 2.0
_PORT = 80
_BY_HAND = "not made by stagelens, which leaves it alone"


@short_traceback_on_interrupt()
def status(engine: engines.Engine | None = None, namespace: str | None = None) -> App:
    """The applications as they are now; each that runs is asked for its health (within 2 s)."""
    found = engine or engines.connect(start=False)
    return check(look(found, names_of(namespace)))


def look(engine: engines.Engine, names: Names) -> App:
    """The applications as the engine has them, without asking them for their health."""
    rows = engine.api.containers(all=True)
    ours = {_label(row, SERVICE): row for row in rows if _label(row, LABEL) == names.network}
    others = {name.lstrip("/"): row for row in rows for name in row.get("Names") or ()}
    if names.namespace is None:
        # The chapter's last command names no container: its image tells it.
        others = {
            str(row["Image"]).removesuffix(":latest"): row for row in rows if not _label(row, LABEL)
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


def check(app: App) -> App:
    """The same with each service's health, from a request to its health address."""
    health = {spec.name: spec.health for spec in APPLICATIONS}

    def ask(service: Service) -> Service:
        path = health.get(service.name, "/health")
        return replace(service, health=_health(app, service, path))

    with ThreadPoolExecutor(max(1, len(app.services))) as pool:
        return replace(app, services=tuple(pool.map(ask, app.services)))


def _health(app: App, service: Service, path: str) -> Health:
    if service.state != "running":
        return "unknown" if service.state == "missing" else "unhealthy"
    try:
        answer = fetch(app, path, service=service.name, timeout=HEALTH_SECONDS)
    except NotRunning:
        return "unhealthy"
    return "healthy" if answer.status == 200 else "unhealthy"


def _label(row: Mapping[str, Any], label: str) -> str | None:
    return (row.get("Labels") or {}).get(label)


def _service(engine: engines.Engine, row: Mapping[str, Any], name: str, container: str) -> Service:
    ours = _label(row, LABEL) is not None
    return Service(
        name,
        str(row.get("Image", "")),
        container,
        str(row.get("State", "unknown")),
        url=_url(engine, row),
        note=(_label(row, NOTE) or "") if ours else _BY_HAND,
        ours=ours,
    )


def _url(engine: engines.Engine, row: Mapping[str, Any]) -> str | None:
    for port in row.get("Ports") or ():
        if port.get("PrivatePort") == _PORT and port.get("PublicPort"):
            public = port.get("IP") not in ("127.0.0.1", "::1")
            host = host_of(engine.address, public)
            return f"http://{host}:{port['PublicPort']}" if host else None
    return None
