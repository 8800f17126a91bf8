"""A start of the applications, step by step, and its rollback."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound
from filelock import FileLock, Timeout

from stagelens import engine as engines
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.builds import LogLine, Vertex, build
from stagelens.engine import Engine, remove_container
from stagelens.paths import cache_dir
from stagelens_course import timeouts
from stagelens_course.apps import ports
from stagelens_course.apps.container_logs import log_entries
from stagelens_course.apps.container_status import read_state
from stagelens_course.apps.http_requests import fetch
from stagelens_course.apps.model import (
    AlreadyStarting,
    App,
    ApplicationSpec,
    Health,
    ImageMissing,
    NameTaken,
    NetworkFailed,
    NoFreePort,
    NotRunning,
    ServiceFailed,
)
from stagelens_course.apps.names import (
    APP_LABEL,
    CALL_LABEL,
    NOTE_LABEL,
    NOTEBOOK_LABEL,
    OWNER_LABEL,
    RECIPE_LABEL,
    SERVICE_LABEL,
    ResourceNames,
    notebook,
    owner,
)

_PAUSE = 0.2
_ANSWER_SECONDS = 5.0
_LOG_LINES = 20
_PORT = 80
_STOP_SECONDS = 2


@dataclass(slots=True)
class Starter:
    """A start of the applications; `call_id` labels everything that it makes, for the rollback."""

    engine: Engine
    names: ResourceNames
    specs: tuple[ApplicationSpec, ...]
    public: bool
    ports: Mapping[str, int]
    call_id: str
    cancel: Cancel
    report: Callable[[str], None]
    on_vertex: Callable[[Vertex, tuple[LogLine, ...]], None]
    unavailable_ports: set[int] = field(default_factory=set[int])

    def run(self, with_build: bool) -> App:
        """Start everything and wait until it answers; an error removes what was made."""
        try:
            if with_build:
                self._build()
            network = self._ensure_network()
            for spec in self.specs:
                self._raise_if_cancelled()
                self._ensure_service(spec, network)
            return self._wait()
        except BaseException:
            self._roll_back()
            raise

    def _raise_if_cancelled(self) -> None:
        if self.cancel.requested:
            raise BuildCancelled("Starting the applications was cancelled.")

    def _build(self) -> None:
        for spec in self.specs:
            if spec.context is not None:
                self._raise_if_cancelled()
                self.report(f"building {spec.image}")
                build(
                    spec.context,
                    tags=[self.names.image(spec.image)],
                    engine=self.engine,
                    on_vertex=self.on_vertex,
                    cancel=self.cancel,
                )

    def _ensure_network(self) -> str:
        """Return the ID of the network; it is made if there is none of that name."""
        api, name = self.engine.api, self.names.network
        if rows := find_networks(self.engine, name):
            return str(rows[0]["Id"])
        self.report(f"making the network {name}")
        try:
            made = api.create_network(
                name,
                driver="bridge",
                check_duplicate=True,
                labels={APP_LABEL: name, CALL_LABEL: self.call_id, OWNER_LABEL: owner()},
            )
        except APIError as error:
            raise NetworkFailed(
                f"The engine did not make the network {name}.",
                why=str(error.explanation or error),
                remedy="docker network prune   (removes unused networks), or add address pools to the "
                "engine's daemon.json",
            ) from error
        return str(made["Id"])

    def _ensure_service(self, spec: ApplicationSpec, network: str) -> None:
        """Leave a container that runs as wanted; replace an outdated one of ours; make a missing one."""
        api, container = self.engine.api, self.names.container(spec.name)
        image = self._image_id(spec)
        recipe = self._recipe(spec, image, network)
        with suppress(NotFound):
            present = api.inspect_container(container)
            labels = present["Config"].get("Labels") or {}
            if labels.get(APP_LABEL) != self.names.network:
                raise NameTaken(
                    f"A container called {container} exists that stagelens did not make.",
                    why="it was left alone",
                    remedy=f"docker rm -f {container}, or use other names: stagelens up --as NAME",
                )
            if labels.get(RECIPE_LABEL) == recipe and present["State"]["Running"]:
                return
            self.report(f"replacing {container}")
            remove_container(api, present["Id"])
        self.report(f"starting {container}")
        self._start(spec, image, recipe)

    def _image_id(self, spec: ApplicationSpec) -> str:
        name = self.names.image(spec.image)
        try:
            return str(self.engine.api.inspect_image(name)["Id"])
        except ImageNotFound:
            raise ImageMissing(
                f"There is no image {name}.",
                where=self.engine.address,
                remedy="stagelens up without --no-build   (builds it)",
            ) from None

    def _wanted_port(self, spec: ApplicationSpec) -> int:
        return self.ports.get(spec.name, spec.port)

    def _recipe(self, spec: ApplicationSpec, image: str, network: str) -> str:
        what = [image, network, self.public, self._wanted_port(spec), spec.memory]
        text = json.dumps([*what, sorted(spec.environment.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _start(self, spec: ApplicationSpec, image: str, recipe: str) -> None:
        """Create and start a container on the first available port."""
        wanted, reason = self._wanted_port(spec), ""
        reserved = {self._wanted_port(other) for other in self.specs} - {wanted}
        self.unavailable_ports |= ports.published(self.engine.api.containers())
        if wanted in self.unavailable_ports or (self._is_local() and ports.is_in_use(wanted)):
            self.unavailable_ports.add(wanted)
            reason = ports.BUSY
        for port in ports.candidates(wanted, self.unavailable_ports | reserved):
            self._raise_if_cancelled()
            if reason == ports.PRIVILEGED and port < ports.UNPRIVILEGED:
                continue
            if port != wanted and self._is_local() and ports.is_in_use(port):
                continue
            note = f"Port {wanted} {reason}, so {spec.name} has port {port}." if port != wanted else ""
            refusal = self._try_port(spec, image, recipe, port, note)
            if refusal is None:
                return
            self.unavailable_ports.add(port)
            reason = reason or refusal
        raise NoFreePort(
            f"No free port was found for {spec.name}.", why=f"port {wanted} {reason}", remedy="docker ps"
        )

    def _is_local(self) -> bool:
        return ports.reachable_host(self.engine.address, False) == ports.LOCAL

    def _try_port(self, spec: ApplicationSpec, image: str, recipe: str, port: int, note: str) -> str | None:
        """Start a container on this port; return why the port is unavailable, or None."""
        made = self._create(spec, image, recipe, port, note)
        try:
            self.engine.api.start(made)
        except APIError as error:
            refusal = ports.refusal_reason(str(error.explanation or error))
            if refusal is None:
                raise
            remove_container(self.engine.api, made)
            return refusal
        return None

    def _create(self, spec: ApplicationSpec, image: str, recipe: str, port: int, note: str) -> str:
        api, network = self.engine.api, self.names.network
        host = api.create_host_config(
            port_bindings={_PORT: (ports.ALL_ADDRESSES if self.public else ports.LOCAL, port)},
            network_mode=network,
            mem_limit=spec.memory,
        )
        endpoints = {network: api.create_endpoint_config(aliases=[spec.name])}
        labels = {
            APP_LABEL: network,
            SERVICE_LABEL: spec.name,
            CALL_LABEL: self.call_id,
            RECIPE_LABEL: recipe,
            NOTE_LABEL: note,
            OWNER_LABEL: owner(),
            NOTEBOOK_LABEL: notebook(),
        }
        made: dict[str, Any] = api.create_container(
            self.names.image(spec.image),
            name=self.names.container(spec.name),
            environment=dict(spec.environment),
            ports=[_PORT],
            host_config=host,
            networking_config=api.create_networking_config(endpoints),
            labels=labels,
        )
        return str(made["Id"])

    def _wait(self) -> App:
        """Ask each service until it answers; fail as soon as one ends."""
        started = time.monotonic()
        health: dict[str, Health] = {}
        while True:
            app = read_state(self.engine, self.names)
            for spec in self.specs:
                if spec.name not in health and self._answers(app, spec):
                    health[spec.name] = "healthy"
            waiting = [spec.name for spec in self.specs if spec.name not in health]
            if not waiting:
                return replace(
                    app,
                    services=tuple(replace(s, health=health.get(s.name, "unknown")) for s in app.services),
                )
            passed, limit = time.monotonic() - started, timeouts.current.application_ready
            if passed > limit:
                raise self._failed(waiting[0], f"did not answer within {limit:.0f} s")
            self.report(f"waiting for {', '.join(waiting)} ({passed:.0f} s)")
            time.sleep(_PAUSE)

    def _answers(self, app: App, spec: ApplicationSpec) -> bool:
        self._raise_if_cancelled()
        if app.service(spec.name).state != "running":
            raise self._failed(spec.name, "ended")
        with suppress(NotRunning):
            return fetch(app, spec.health, service=spec.name, timeout=_ANSWER_SECONDS).status == 200
        return False

    def _failed(self, name: str, problem: str) -> ServiceFailed:
        container = self.names.container(name)
        with suppress(NotRunning, APIError):
            lines = [f"    {entry.text}" for entry in log_entries(self.engine, container, tail=_LOG_LINES)]
            return ServiceFailed(f"{container} {problem}.", why="\n".join(["its last lines were:", *lines]))
        return ServiceFailed(f"{container} {problem}.")

    def _roll_back(self) -> None:
        """Remove the containers and the network that this call made."""
        label = f"{CALL_LABEL}={self.call_id}"
        remove_containers(self.engine, label)
        for row in self.engine.api.networks(filters={"label": label}):
            remove_network(self.engine, row["Id"])


@contextmanager
def start_lock(network: str) -> Generator[None]:
    """Hold the lock of a namespace, by its network's name; its file is removed afterwards.

    Raises
    ------
    AlreadyStarting
        If another program holds the lock.
    """
    path = cache_dir() / f"up-{network}.lock"
    # A lock file must not be opened while its last holder removes it: both hold this lock meanwhile.
    removal = FileLock(cache_dir() / "up.lock")
    lock = FileLock(path)
    try:
        with removal:
            lock.acquire(timeout=0)
    except Timeout:
        raise AlreadyStarting(
            "Another program is starting these applications.",
            where=f"network {network}",
            remedy="wait until it is done, then run: stagelens status",
        ) from None
    try:
        yield
    finally:
        with removal:
            lock.release()
            path.unlink(missing_ok=True)


def remove_containers(engine: engines.Engine, label: str) -> tuple[str, ...]:
    """Stop and remove every container with a label (`name=value`); return their names."""
    api = engine.api
    rows = api.containers(all=True, filters={"label": label})

    def remove(row: dict[str, Any]) -> str:
        with suppress(APIError):
            api.stop(row["Id"], timeout=_STOP_SECONDS)
        engines.remove_container(api, row["Id"])
        # A container that is being removed may have no name any more.
        return str((row["Names"] or [row["Id"][:12]])[0]).lstrip("/")

    with ThreadPoolExecutor(max(1, min(4, len(rows)))) as pool:
        return tuple(sorted(pool.map(remove, rows)))


def remove_network(engine: engines.Engine, identity: str) -> str | None:
    """Remove a network; return None, or why the engine refused."""
    try:
        engines.remove_network(engine.api, identity)
    except APIError as error:
        return str(error.explanation or error)
    return None


def find_networks(engine: engines.Engine, name: str) -> list[dict[str, Any]]:
    """Return the networks of exactly that name, ours first; the engine's filter also matches parts."""
    rows: list[dict[str, Any]] = [row for row in engine.api.networks(names=[name]) if row["Name"] == name]
    ours = [row for row in rows if (row.get("Labels") or {}).get(APP_LABEL) == name]
    return ours + [row for row in rows if row not in ours]
