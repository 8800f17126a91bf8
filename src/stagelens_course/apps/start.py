"""One start of the applications, step by step, and its undoing."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound

from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.builds import LogLine, Vertex, build
from stagelens.engine import Engine, remove_container
from stagelens_course.apps import ports
from stagelens_course.apps.down import networks, remove_containers, remove_network
from stagelens_course.apps.errors import (
    ImageMissing,
    NameTaken,
    NetworkFailed,
    NoFreePort,
    NotRunning,
    ServiceFailed,
)
from stagelens_course.apps.fetch import fetch
from stagelens_course.apps.logs import entries
from stagelens_course.apps.model import App, Definition, Health
from stagelens_course.apps.names import CALL, LABEL, NOTE, RECIPE, SERVICE, Names
from stagelens_course.apps.status import look

READY_SECONDS = 300.0
_PAUSE = 0.2
_ASK_SECONDS = 5.0
_LOG_LINES = 20
_PORT = 80


@dataclass(slots=True)
class Starter:
    """All that a start needs; `call` is written on whatever it makes, so that it can be undone."""

    engine: Engine
    names: Names
    definitions: tuple[Definition, ...]
    public: bool
    ports: Mapping[str, int]
    call: str
    cancel: Cancel
    report: Callable[[str], None]
    on_vertex: Callable[[Vertex, tuple[LogLine, ...]], None]
    taken: set[int] = field(default_factory=set[int])

    def run(self, with_build: bool) -> App:
        """Start everything and wait; whatever goes wrong, what was made here is removed first."""
        try:
            if with_build:
                self._build()
            network = self._network()
            for definition in self.definitions:
                self._go_on()
                self._service(definition, network)
            return self._wait()
        except BaseException:
            self._undo()
            raise

    def _go_on(self) -> None:
        if self.cancel.requested:
            raise BuildCancelled("Starting the applications was cancelled.")

    def _build(self) -> None:
        for definition in self.definitions:
            if definition.context is not None:
                self._go_on()
                self.report(f"building {definition.image}")
                build(
                    definition.context,
                    tags=[self.names.image(definition.image)],
                    engine=self.engine,
                    on_vertex=self.on_vertex,
                    cancel=self.cancel,
                )

    def _network(self) -> str:
        """The network's id: one of that name that is there, ours first, else a new one."""
        api, name = self.engine.api, self.names.network
        if rows := networks(self.engine, name):
            return str(rows[0]["Id"])
        self.report(f"making the network {name}")
        try:
            made = api.create_network(
                name, driver="bridge", check_duplicate=True, labels={LABEL: name, CALL: self.call}
            )
        except APIError as error:
            raise NetworkFailed(
                f"The engine did not make the network {name}.",
                why=str(error.explanation or error),
                remedy="docker network prune   (removes what nothing uses), or name more address pools in "
                "the engine's daemon.json",
            ) from error
        return str(made["Id"])

    def _service(self, definition: Definition, network: str) -> None:
        """Keep a container that is as wanted, replace one of ours that is not, else make one."""
        api, container = self.engine.api, self.names.container(definition.name)
        image = self._image(definition)
        recipe = self._recipe(definition, image, network)
        with suppress(NotFound):
            present = api.inspect_container(container)
            labels = present["Config"].get("Labels") or {}
            if labels.get(LABEL) != self.names.network:
                raise NameTaken(
                    f"There is a container called {container} that stagelens did not make.",
                    why="it was left alone",
                    remedy=f"docker rm -f {container}, or stagelens up --as NAME for names of your own",
                )
            if labels.get(RECIPE) == recipe and present["State"]["Running"]:
                return
            self.report(f"replacing {container}")
            remove_container(api, present["Id"])
        self.report(f"starting {container}")
        self._start(definition, image, recipe)

    def _image(self, definition: Definition) -> str:
        name = self.names.image(definition.image)
        try:
            return str(self.engine.api.inspect_image(name)["Id"])
        except ImageNotFound:
            raise ImageMissing(
                f"There is no image {name}.",
                where=self.engine.address,
                remedy="stagelens up without --no-build   (builds it)",
            ) from None

    def _wanted_port(self, definition: Definition) -> int:
        return self.ports.get(definition.name, definition.port)

    def _recipe(self, definition: Definition, image: str, network: str) -> str:
        what = [image, network, self.public, self._wanted_port(definition), definition.memory]
        text = json.dumps([*what, sorted(definition.environment.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _start(self, definition: Definition, image: str, recipe: str) -> None:
        """Create and start a container on the first port that can be had."""
        wanted, reason = self._wanted_port(definition), ""
        reserved = {self._wanted_port(other) for other in self.definitions} - {wanted}
        self.taken |= ports.published(self.engine.api.containers())
        if wanted in self.taken or (self._is_local() and ports.in_use(wanted)):
            self.taken.add(wanted)
            reason = ports.BUSY
        for port in ports.candidates(wanted, self.taken | reserved):
            self._go_on()
            if reason == ports.PRIVILEGED and port < ports.UNPRIVILEGED:
                continue
            if port != wanted and self._is_local() and ports.in_use(port):
                continue
            note = f"Port {wanted} {reason}, so {definition.name} has port {port}." if port != wanted else ""
            refusal = self._try(definition, image, recipe, port, note)
            if refusal is None:
                return
            self.taken.add(port)
            reason = reason or refusal
        raise NoFreePort(
            f"No port was found for {definition.name}.", why=f"port {wanted} {reason}", remedy="docker ps"
        )

    def _is_local(self) -> bool:
        return ports.host_of(self.engine.address, False) == ports.LOCAL

    def _try(self, definition: Definition, image: str, recipe: str, port: int, note: str) -> str | None:
        """Start a container on this port; None, or why the port cannot be had."""
        made = self._create(definition, image, recipe, port, note)
        try:
            self.engine.api.start(made)
        except APIError as error:
            refusal = ports.refusal(str(error.explanation or error))
            if refusal is None:
                raise
            remove_container(self.engine.api, made)
            return refusal
        return None

    def _create(self, definition: Definition, image: str, recipe: str, port: int, note: str) -> str:
        api, network = self.engine.api, self.names.network
        host = api.create_host_config(
            port_bindings={_PORT: (ports.ANYWHERE if self.public else ports.LOCAL, port)},
            network_mode=network,
            mem_limit=definition.memory,
        )
        place = {network: api.create_endpoint_config(aliases=[definition.name])}
        labels = {LABEL: network, SERVICE: definition.name, CALL: self.call, RECIPE: recipe, NOTE: note}
        made: dict[str, Any] = api.create_container(
            self.names.image(definition.image),
            name=self.names.container(definition.name),
            environment=dict(definition.environment),
            ports=[_PORT],
            host_config=host,
            networking_config=api.create_networking_config(place),
            labels=labels,
        )
        return str(made["Id"])

    def _wait(self) -> App:
        """Ask each service until it answers; one that ends is a failure at once."""
        begun = time.monotonic()
        health: dict[str, Health] = {}
        while True:
            app = look(self.engine, self.names)
            for definition in self.definitions:
                if definition.name not in health and self._answers(app, definition):
                    health[definition.name] = "healthy"
            waiting = [d.name for d in self.definitions if d.name not in health]
            if not waiting:
                return replace(
                    app,
                    services=tuple(replace(s, health=health.get(s.name, "unknown")) for s in app.services),
                )
            passed = time.monotonic() - begun
            if passed > READY_SECONDS:
                raise self._failed(waiting[0], f"did not answer within {READY_SECONDS:.0f} s")
            self.report(f"waiting for {', '.join(waiting)} ({passed:.0f} s)")
            time.sleep(_PAUSE)

    def _answers(self, app: App, definition: Definition) -> bool:
        self._go_on()
        if app.service(definition.name).state != "running":
            raise self._failed(definition.name, "ended")
        with suppress(NotRunning):
            return fetch(app, definition.health, service=definition.name, timeout=_ASK_SECONDS).status == 200
        return False

    def _failed(self, name: str, how: str) -> ServiceFailed:
        container = self.names.container(name)
        with suppress(NotRunning, APIError):
            lines = [f"    {entry.text}" for entry in entries(self.engine, container, tail=_LOG_LINES)]
            return ServiceFailed(f"{container} {how}.", why="\n".join(["its last lines were:", *lines]))
        return ServiceFailed(f"{container} {how}.")

    def _undo(self) -> None:
        """Remove the containers and the network that this call made."""
        label = f"{CALL}={self.call}"
        remove_containers(self.engine, label)
        for row in self.engine.api.networks(filters={"label": label}):
            remove_network(self.engine, row["Id"])
