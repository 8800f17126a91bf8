"""Starting the applications and waiting until each answers, and removing exactly what was started."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from docker.errors import APIError

from stagelens import engine as engines
from stagelens.buildkit import Cancel
from stagelens.builds import LogLine, Vertex
from stagelens.concurrency import CallbackRelay, run_cancellable
from stagelens.dockerfile import load
from stagelens.errors import short_traceback_on_interrupt
from stagelens_course import images as base_images
from stagelens_course.apps.errors import AppsError, ImageMissing
from stagelens_course.apps.model import APPLICATIONS, App, ApplicationSpec, Removed
from stagelens_course.apps.names import LABEL, Names, names_of
from stagelens_course.apps.starter import Starter, networks, remove_containers, remove_network, start_lock

Report = Callable[[str], None]
OnVertex = Callable[[Vertex, tuple[LogLine, ...]], None]


@short_traceback_on_interrupt()
def up(
    engine: engines.Engine | None = None,
    *,
    namespace: str | None = None,
    public: bool = False,
    ports: Mapping[str, int] | None = None,
    build: bool = True,
    services: Sequence[ApplicationSpec] = APPLICATIONS,
    report: Report | None = None,
    cancel: Cancel | None = None,
    on_vertex: OnVertex | None = None,
) -> App:
    """Build and start the applications and wait until each answers; what runs already is kept.

    An error, an interrupt or `cancel` removes again every container and network that this call made; images
    that were built stay.

    Parameters
    ----------
    namespace: for names of one's own on a shared engine; None takes the JupyterHub user's name where there
        is one, "" the chapter's own names.
    public: publish the ports on all addresses of the machine instead of 127.0.0.1.
    ports: other ports than 800, 801 and 802, by service. A port that cannot be had is replaced by the next
        free one, and the service's `note` says so.
    build: build the images first; else they must be there.
    services: what to run in place of the chapter's three applications.
    report, on_vertex: told, in the calling thread, what is being done, and what a build does.

    Raises
    ------
    BuildFailed, BuildCancelled, ImagesError: as builds do; BuildCancelled also later, after `cancel`.
    NameTaken: a container of such a name is somebody else's. NetworkFailed, NoFreePort, ImageMissing.
    ServiceFailed: an application ended or did not answer. AlreadyStarting: another process is at it.
    """
    found = engine or engines.connect(report=report)
    names = names_of(namespace)
    if build:
        _check(services)
        base_images.ensure(found, _base_images(services), report=report, cancel=cancel)
    stop = cancel or Cancel()

    def work(relay: CallbackRelay) -> App:
        starter = Starter(
            found,
            names,
            tuple(services),
            public=public,
            ports=dict(ports or {}),
            call=uuid.uuid4().hex,
            cancel=stop,
            report=relay.wrap(report),
            on_vertex=relay.wrap(on_vertex),
        )
        return starter.run(build)

    try:
        with start_lock(names.network):
            return run_cancellable(work, stop)
    except APIError as error:
        raise AppsError("The engine refused a step.", why=str(error.explanation or error)[:1000]) from error


def _check(services: Sequence[ApplicationSpec]) -> None:
    for spec in services:
        if spec.context is not None and not spec.context.is_dir():
            raise ImageMissing(
                f"The application {spec.image} is not there.",
                where=str(spec.context),
                remedy="use a checkout of stagelens, which has the folder ch04/exercises",
            )


def _base_images(services: Sequence[ApplicationSpec]) -> list[str]:
    """The lessons' base images that the Dockerfiles name."""
    contexts = [spec.context for spec in services if spec.context is not None]
    named: set[Any] = {stage.base for context in contexts for stage in load(context / "Dockerfile").stages}
    return [name for name in base_images.NAMES if name in named]


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
    tags = [names.image(spec.image) for spec in APPLICATIONS] if images else []
    return Removed(containers, network, tuple(tag for tag in tags if _untag(found, tag)), tuple(kept))


def _others(engine: engines.Engine, names: Names) -> list[str]:
    wanted = {names.container(spec.name) for spec in APPLICATIONS}
    rows = engine.api.containers(all=True)
    return sorted(wanted & {name.lstrip("/") for row in rows for name in row.get("Names") or ()})


def _untag(engine: engines.Engine, tag: str) -> bool:
    try:
        engine.api.remove_image(tag, noprune=False)
    except APIError:
        return False
    return True
