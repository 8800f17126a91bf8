"""The distributed application: frozen values for what to run, what runs and what was observed; errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stagelens.engine import Engine
from stagelens.errors import StagelensError, as_typed
from stagelens_course.folder import course_folder

Health = Literal["healthy", "unhealthy", "unknown"]

_PROJECTS = course_folder() / "ch04" / "exercises"


class AppsError(StagelensError):
    """Base class of the errors of the applications."""


class NameTaken(AppsError):
    """A container of that name exists that stagelens did not make; it was left alone."""


class ImageMissing(AppsError):
    """An image that should run without being built is not on the engine."""


class NetworkFailed(AppsError):
    """The engine could not make the network."""


class NoFreePort(AppsError):
    """None of the ports tried could be published."""


class ServiceFailed(AppsError):
    """An application ended or did not answer in time; `why` has the last lines of its log."""


class NotRunning(AppsError):
    """An application has no container, or could not be reached."""


class AlreadyStarting(AppsError):
    """Another process is starting the same applications."""


@dataclass(frozen=True, slots=True)
class ApplicationSpec:
    """An application to run.

    Attributes
    ----------
    name
        The name of its container and its name on the network.
    image
        The repository that its image is tagged with.
    context
        The folder to build the image from; None for an image that exists already.
    port
        The wanted port of this machine for port 80 of the container.
    health
        A path that answers with status 200 once the application is ready.
    environment
        Environment variables of the container.
    memory
        The limit of the container's memory in bytes.
    """

    name: str
    image: str
    context: Path | None
    port: int
    health: str = "/health"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    memory: int | None = None


# The limit also sizes the heap of the JVM, which would otherwise take a quarter of the machine.
APPLICATIONS: tuple[ApplicationSpec, ...] = (
    ApplicationSpec("iotd", "image-of-the-day", _PROJECTS / "image-of-the-day", 800, memory=512 * 1024**2),
    ApplicationSpec("accesslog", "access-log", _PROJECTS / "access-log", 801),
    ApplicationSpec("image-gallery", "image-gallery", _PROJECTS / "image-gallery", 802),
)
GALLERY = "image-gallery"


@dataclass(frozen=True, slots=True)
class Service:
    """The state of an application on an engine.

    Attributes
    ----------
    name
        The application's name.
    image
        The container's image.
    container
        The container's name.
    state
        The engine's word (running, exited, …), or "missing".
    health
        Whether it answers; "unknown" where it was not asked.
    url
        Its address for this machine; None where this machine cannot reach it.
    note
        A remark, for example why it has another port.
    ours
        Whether `up` made the container.
    """

    name: str
    image: str
    container: str
    state: str
    health: Health = "unknown"
    url: str | None = None
    note: str = ""
    ours: bool = True


@dataclass(frozen=True, slots=True)
class App:
    """The applications of a namespace (None: the names of the chapter) on an engine."""

    namespace: str | None
    network: str
    services: tuple[Service, ...]
    engine: Engine = field(repr=False, compare=False)

    def service(self, name: str) -> Service:
        """Return a service by its name.

        Raises
        ------
        KeyError
            If there is no such service.
        """
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    @property
    def url(self) -> str | None:
        """Address of the page."""
        return self.service(GALLERY).url

    @property
    def healthy(self) -> bool:
        """Whether every service runs and answers."""
        return all(service.health == "healthy" for service in self.services)

    def command(self, words: str) -> str:
        """Return a `stagelens` command to type in a terminal, with the namespace of these applications."""
        return as_typed(f"stagelens {words}") + (f" --as {self.namespace}" if self.namespace else "")


@dataclass(frozen=True, slots=True)
class RunningApp:
    """What `up` left on an engine in one namespace.

    Attributes
    ----------
    namespace
        The namespace; None for the names of the chapter.
    notebook
        The name of the notebook that started it; "" for a command.
    started
        When its first container was made, in Unix seconds; None if only the network is left.
    containers
        The names of its containers.
    ports
        The ports of the engine's machine that it holds.
    """

    namespace: str | None
    notebook: str
    started: int | None
    containers: tuple[str, ...]
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """The names of what `down` removed.

    Attributes
    ----------
    containers
        Names of the containers.
    network
        The network's name; None if none was removed.
    images
        Tags of the images.
    skipped
        A sentence for each thing that was left, with the reason.
    """

    containers: tuple[str, ...] = ()
    network: str | None = None
    images: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line of a container's log.

    Attributes
    ----------
    time
        Unix seconds.
    stream
        1 for standard output, 2 for standard error.
    text
        The line without terminal escapes.
    fields
        The line's JSON object; None for other lines. Its values are untrusted: escape them for display.
    """

    time: float
    stream: int
    text: str
    fields: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Hop:
    """A request from one application to another, as its caller logged it.

    Attributes
    ----------
    service
        The service that was called.
    method, url
        The request.
    status
        The status of the response; None where no response came.
    started
        Unix seconds.
    seconds
        How long the caller waited.
    inside
        How many seconds the service itself took; None if it did not log the request.
    error
        Why no response came.
    """

    service: str
    method: str
    url: str
    status: int | None
    started: float
    seconds: float
    inside: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """A request for the page and the calls that it caused, in the order of their start."""

    request_id: str
    hops: tuple[Hop, ...]
