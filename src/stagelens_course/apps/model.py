"""The distributed application as frozen values: what is to run, what runs, what was seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stagelens.engine import Engine
from stagelens_course.folder import course_folder

Health = Literal["healthy", "unhealthy", "unknown"]

_PROJECTS = course_folder() / "ch04" / "exercises"


@dataclass(frozen=True, slots=True)
class ApplicationSpec:
    """One application: `name` is its container's name and its name on the network.

    `image` is the repository that its image is tagged with, built from the folder `context` (None: it is
    there already). `port` is the wanted port of this machine for port 80 of the container; `memory` the
    most the container may use, in bytes. GET `health` answers 200 once it is ready.
    """

    name: str
    image: str
    context: Path | None
    port: int
    health: str = "/health"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    memory: int | None = None


# The memory's limit also sizes the heap of the JVM, which else takes a quarter of the machine.
APPLICATIONS: tuple[ApplicationSpec, ...] = (
    ApplicationSpec("iotd", "image-of-the-day", _PROJECTS / "image-of-the-day", 800, memory=512 * 1024**2),
    ApplicationSpec("accesslog", "access-log", _PROJECTS / "access-log", 801),
    ApplicationSpec("image-gallery", "image-gallery", _PROJECTS / "image-gallery", 802),
)
GALLERY = "image-gallery"


@dataclass(frozen=True, slots=True)
class Service:
    """An application as the engine has it.

    `container` is its container's name; `state` is the engine's word (running, exited, …) or "missing".
    `url` is where this machine reaches it, None where it cannot. `note` is a sentence worth telling, such
    as why it has another port. `ours` is false for a container that `up` did not make.
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
    """The three applications in one namespace (None: the chapter's own names) on one engine."""

    namespace: str | None
    network: str
    services: tuple[Service, ...]
    engine: Engine = field(repr=False, compare=False)

    def service(self, name: str) -> Service:
        """The service of that name.

        Raises
        ------
        KeyError: there is no such service.
        """
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    @property
    def url(self) -> str | None:
        """Where the page is."""
        return self.service(GALLERY).url

    @property
    def healthy(self) -> bool:
        """Whether every service runs and answers."""
        return all(service.health == "healthy" for service in self.services)

    def command(self, words: str) -> str:
        """What one types in a terminal about this very application."""
        return f"./stagelens {words}" + (f" --as {self.namespace}" if self.namespace else "")


@dataclass(frozen=True, slots=True)
class Removed:
    """What `down` removed, by name, and in `kept` a sentence for each thing that it left, with the reason."""

    containers: tuple[str, ...] = ()
    network: str | None = None
    images: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line of a container's log: `stream` 1 is standard output, 2 standard error; `time` is Unix seconds.

    `text` holds no terminal escapes; `fields` is the line's JSON object, None where it is none. Its
    values are a stranger's: escape them before they are shown.
    """

    time: float
    stream: int
    text: str
    fields: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Hop:
    """One request on the way through the applications, as its caller saw it.

    `status` is None where no answer came, and `error` then says why. `started` is Unix seconds, `seconds`
    how long the caller waited, `inside` how long the service itself worked on it (None: it logged nothing).
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
    """One call to the page and the calls it caused, in the order in which they began."""

    request_id: str
    hops: tuple[Hop, ...]
