"""Start the applications, and remove exactly what was started."""

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
from stagelens_course.apps.container_status import find_running
from stagelens_course.apps.model import APPLICATIONS, App, ApplicationSpec, AppsError, ImageMissing, Removed
from stagelens_course.apps.names import APP_LABEL, ResourceNames, resource_names
from stagelens_course.apps.starter import (
    Starter,
    find_networks,
    remove_containers,
    remove_network,
    start_lock,
)

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
    """Build and start the applications, and wait until each answers.

    Containers that already run as wanted are left alone. An error, an interrupt or a cancel removes every
    container and network that this call made; images that were built stay.

    Parameters
    ----------
    engine
        The engine to use; by default the one that `stagelens.engine.connect` finds or starts.
    namespace
        A suffix for all names, for a shared engine. None takes the JupyterHub user's name if there is one;
        "" takes the names of the chapter.
    public
        Whether to publish the ports on all addresses of the machine instead of 127.0.0.1.
    ports
        Ports by service, instead of 800, 801 and 802. A port that is not available is replaced by the next
        free one, and the service's `note` says so.
    build
        Whether to build the images first; otherwise they must exist.
    services
        The applications to run instead of the chapter's three.
    report
        Called, in the calling thread, with a line that says what is being done.
    cancel
        Stops the start when it is called.
    on_vertex
        Called, in the calling thread, with the steps of the builds.

    Returns
    -------
    App
        The running applications.

    Raises
    ------
    BuildFailed
        If a step of a build failed.
    BuildCancelled
        If `cancel` was called.
    ImagesError
        If a base image could not be provided.
    NameTaken
        If a container of the same name exists that stagelens did not make.
    ImageMissing
        If an image is not on the engine, or the folder to build it from does not exist.
    NetworkFailed
        If the engine could not make the network.
    NoFreePort
        If none of the ports could be published.
    ServiceFailed
        If an application ended or did not answer in time.
    AlreadyStarting
        If another process is starting the same applications.
    """
    found = engine or engines.connect(report=report)
    names = resource_names(namespace)
    if build:
        _check_contexts(services)
        base_images.ensure(found, _base_images(services), report=report, cancel=cancel)
    stop = cancel or Cancel()

    def work(relay: CallbackRelay) -> App:
        starter = Starter(
            found,
            names,
            tuple(services),
            public=public,
            ports=dict(ports or {}),
            call_id=uuid.uuid4().hex,
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


def _check_contexts(services: Sequence[ApplicationSpec]) -> None:
    for spec in services:
        if spec.context is not None and not spec.context.is_dir():
            raise ImageMissing(
                f"The folder of the application {spec.image} does not exist.",
                where=str(spec.context),
                remedy="use a checkout of stagelens, which has the folder ch04/exercises",
            )


def _base_images(services: Sequence[ApplicationSpec]) -> list[str]:
    """Return the base images of the course that the Dockerfiles name."""
    contexts = [spec.context for spec in services if spec.context is not None]
    named: set[Any] = {stage.base for context in contexts for stage in load(context / "Dockerfile").stages}
    return [name for name in base_images.NAMES if name in named]


@short_traceback_on_interrupt()
def down(
    engine: engines.Engine | None = None, namespace: str | None = None, *, images: bool = False
) -> Removed:
    """Stop and remove the containers and the network that `up` made.

    Containers and networks of these names that stagelens did not make stay.

    Parameters
    ----------
    engine
        The engine to use; by default the one that `stagelens.engine.connect` finds.
    namespace
        The namespace that they were started in, see `up`.
    images
        Whether to remove the tags of the images, too.

    Returns
    -------
    Removed
        What was removed, and what was skipped and why.
    """
    return _remove(engine or engines.connect(start=False), resource_names(namespace), images)


@short_traceback_on_interrupt()
def down_all(engine: engines.Engine | None = None, *, images: bool = False) -> tuple[Removed, ...]:
    """Stop and remove what `up` made, in every namespace that `find_running` finds.

    Parameters
    ----------
    engine
        The engine to use; by default the one that `stagelens.engine.connect` finds.
    images
        Whether to remove the tags of the images, too.

    Returns
    -------
    tuple
        What was removed in each namespace, and what was skipped and why.
    """
    found = engine or engines.connect(start=False)
    return tuple(_remove(found, ResourceNames(one.namespace), images) for one in find_running(found))


def _remove(found: engines.Engine, names: ResourceNames, images: bool) -> Removed:
    containers = remove_containers(found, f"{APP_LABEL}={names.network}")
    skipped = [
        f"The container {name} was not made by stagelens: it is left alone."
        for name in _foreign_containers(found, names)
    ]
    network = None
    for row in find_networks(found, names.network):
        ours = (row.get("Labels") or {}).get(APP_LABEL) == names.network
        if not ours:
            skipped.append(f"The network {names.network} was not made by stagelens: it is left alone.")
        elif reason := remove_network(found, row["Id"]):
            skipped.append(f"The network {names.network} is left: {reason}")
        else:
            network = names.network
    tags = [names.image(spec.image) for spec in APPLICATIONS] if images else []
    return Removed(containers, network, tuple(tag for tag in tags if _untag(found, tag)), tuple(skipped))


def _foreign_containers(engine: engines.Engine, names: ResourceNames) -> list[str]:
    wanted = {names.container(spec.name) for spec in APPLICATIONS}
    rows = engine.api.containers(all=True)
    return sorted(wanted & {name.lstrip("/") for row in rows for name in row.get("Names") or ()})


def _untag(engine: engines.Engine, tag: str) -> bool:
    try:
        engine.api.remove_image(tag, noprune=False)
    except APIError:
        return False
    return True
