"""One build through `POST /build`: its request, its events, and how to cancel it."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, cast

from stagelens import timeouts
from stagelens.buildkit import dockerpy
from stagelens.buildkit.errors import BuildCancelled, BuildError, ConnectionLost
from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse

if TYPE_CHECKING:
    from stagelens.buildkit.dockerpy import Answer, EngineApi

OnStatus = Callable[[StatusResponse], None]


class Cancel:
    """A switch that stops a build from another thread or a signal handler."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._actions: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def __call__(self) -> None:
        """Stop the build; a second call does nothing."""
        with self._lock:
            self._event.set()
            actions, self._actions = self._actions, []
        for action in actions:
            action()

    @property
    def requested(self) -> bool:
        """Whether the build is to stop."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until the build is to stop, at most `seconds`, and return whether it is."""
        return self._event.wait(seconds)

    def on_request(self, action: Callable[[], None]) -> None:
        """Run `action` when the build is to stop, or now if it already is."""
        with self._lock:
            if not self._event.is_set():
                self._actions.append(action)
                return
        action()


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """The parameters of `/build`, named like the docker CLI's options.

    Attributes
    ----------
    dockerfile
        The Dockerfile's path in the context.
    tags
        Names for the image.
    target
        The stage to build.
    build_args
        Values of ARG instructions; None takes the value of the Dockerfile.
    labels
        Labels for the image.
    cache_from
        Images to use as cache sources.
    no_cache
        Whether to run each step without the cache.
    pull
        Whether to pull base images that exist locally.
    network
        The network mode of RUN instructions.
    platform
        The platform to build for.
    extra_hosts
        Entries for /etc/hosts, as `HOST:ADDRESS`.
    outputs
        Exporters, such as `({"Type": "tar", "Attrs": {}},)`; empty for an image in the engine's store.
    remote
        The context's address if neither the session nor the body sends it: a repository or an archive that
        the engine fetches, or the return value of `Upload.add`.
    contexts
        The addresses of build contexts beside the main one, by name, such as `local:NAME` for a tree of the
        session. `/build` has no parameter for them: use `Control.solve`.
    """

    dockerfile: str = "Dockerfile"
    tags: tuple[str, ...] = ()
    target: str | None = None
    build_args: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    cache_from: Sequence[str] = ()
    no_cache: bool = False
    pull: bool = False
    network: str | None = None
    platform: str | None = None
    extra_hosts: Sequence[str] = ()
    outputs: Sequence[Mapping[str, Any]] = ()
    remote: str | None = None
    contexts: Mapping[str, str] = field(default_factory=dict[str, str])

    def query(self) -> dict[str, Any]:
        """Return the query parameters of the Engine API's image build."""
        query: dict[str, Any] = {
            "version": "2",
            "dockerfile": self.dockerfile,
            "t": list(self.tags),
            "rm": "1",
            "buildargs": json.dumps(dict(self.build_args)),
            "labels": json.dumps(dict(self.labels)),
            "cachefrom": json.dumps(list(self.cache_from)),
        }
        options = {
            "target": self.target,
            "nocache": "1" if self.no_cache else None,
            "pull": "1" if self.pull else None,
            "networkmode": self.network,
            "platform": self.platform,
            "extrahosts": ",".join(self.extra_hosts) or None,
            "outputs": json.dumps(list(self.outputs)) if self.outputs else None,
        }
        return query | {name: value for name, value in options.items() if value is not None}

    def frontend_attributes(self) -> dict[str, str]:
        """Return the attributes of BuildKit's Dockerfile frontend (frontend/dockerfile/builder)."""
        attributes = {
            "filename": self.dockerfile,
            **{f"build-arg:{name}": value for name, value in self.build_args.items() if value is not None},
            **{f"label:{name}": value for name, value in self.labels.items()},
            **{f"context:{name}": address for name, address in self.contexts.items()},
        }
        options = {
            "target": self.target,
            "no-cache": "" if self.no_cache else None,
            "image-resolve-mode": "pull" if self.pull else None,
            "force-network-mode": self.network if self.network != "default" else None,
            "platform": self.platform,
            "add-hosts": ",".join(host.replace(":", "=", 1) for host in self.extra_hosts) or None,
            "cache-from": ",".join(self.cache_from) or None,
            "context": self.remote,
            # A frontend that knows no such contexts then refuses the build instead of ignoring them.
            "frontend.caps": "moby.buildkit.frontend.contexts+forward" if self.contexts else None,
        }
        return attributes | {name: value for name, value in options.items() if value is not None}


def solve(
    api: EngineApi,
    request: BuildRequest,
    *,
    session: str | None = None,
    body: Iterator[bytes] | IO[bytes] | None = None,
    on_status: OnStatus | None = None,
    cancel: Cancel | None = None,
    ref: str | None = None,
) -> str | None:
    """Run a build.

    Parameters
    ----------
    api
        The client of docker-py whose engine to use.
    request
        What to build.
    session
        The id of an open session, which sends the context unless the request has a `remote`.
    body
        The context as a tar, without a session.
    on_status
        Called with the events of the build.
    cancel
        Stops the build.
    ref
        A name for the build, for `cancel_build`.

    Returns
    -------
    str or None
        The image's id; None if the result is exported.

    Raises
    ------
    BuildError
        If the build fails.
    BuildCancelled
        If `cancel` was called.
    ConnectionLost
        If the connection ends.
    """
    build_id = ref or uuid.uuid4().hex
    query = request.query() | {"buildid": build_id}
    if session is not None:
        query |= {"remote": request.remote or "client-session", "session": session}
    image: str | None = None
    try:
        answer = _post(api, query, body)
        with contextlib.closing(answer), _Stop(api, build_id, answer) as stop:
            if cancel is not None:
                cancel.on_request(stop)
            for line in _lines(answer):
                image = _handle(line, on_status) or image
    except (*dockerpy.connection_errors(), AttributeError, RuntimeError) as error:
        # If another thread closes the response, any of these is raised.
        if cancel is not None and cancel.requested:
            raise BuildCancelled("The build was cancelled.") from None
        if not isinstance(error, dockerpy.connection_errors()):
            raise
        raise ConnectionLost(
            "The connection to the engine broke during the build.",
            why=str(error),
            remedy="check that the engine runs (stagelens doctor), then build again",
        ) from error
    except BuildError:
        if cancel is not None and cancel.requested:
            raise BuildCancelled("The build was cancelled.") from None
        raise
    if cancel is not None and cancel.requested:
        raise BuildCancelled("The build was cancelled.")
    return image


def _post(
    api: EngineApi,
    query: Mapping[str, Any],
    body: Iterator[bytes] | IO[bytes] | None,
) -> Answer:
    headers = {"Content-Type": "application/x-tar"}
    # A session has the credentials for each registry that the engine asks for.
    if "session" not in query and (registry := _registry_config(api)) is not None:
        headers["X-Registry-Config"] = registry
    answer = dockerpy.post(api, "/build", query, body=body, headers=headers)
    if answer.status >= 400:
        with contextlib.closing(answer):
            raise BuildError(dockerpy.error_message(answer))
    if not any(name in answer.headers for name in ("Transfer-Encoding", "Content-Length")):
        # The header was cut: the end of the events would look like the end of the build.
        answer.close()
        raise ConnectionLost("The connection to the engine broke at the start of the build.")
    return answer


def _registry_config(api: EngineApi) -> str | None:
    """Return all credentials, as the docker CLI sends them for builds without a session."""
    from docker.errors import DockerException

    try:
        credentials = dockerpy.auth_configs(api).get_all_credentials()
    except DockerException:
        return None
    if not credentials:
        return None
    return base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode()


def cancel_build(api: EngineApi, ref: str) -> None:
    """Ask the engine to stop a build, which another program may have started.

    Parameters
    ----------
    api
        The client of docker-py whose engine to use.
    ref
        The name that `solve` was given.
    """
    with contextlib.suppress(*dockerpy.connection_errors()):
        dockerpy.post(api, "/build/cancel", {"id": ref}, timeout=10, read_timeout=10).close()


class _Stop:
    """Stops a build in the engine, and lets its answer arrive for a while.

    The engine may be tagging the image at this moment: only after its last event no image can appear.
    """

    def __init__(self, api: EngineApi, build_id: str, answer: Answer) -> None:
        self._api = api
        self._build_id = build_id
        self._answer = answer
        self._answered = threading.Event()

    def __call__(self) -> None:
        cancel_build(self._api, self._build_id)
        threading.Thread(target=self._end, daemon=True, name="stagelens-stop").start()

    def _end(self) -> None:
        if not self._answered.wait(timeouts.current.build_cancel):
            with contextlib.suppress(Exception):
                # The reading thread is blocked in the socket: a shutdown wakes it.
                self._answer.wake_reader()

    def __enter__(self) -> _Stop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._answered.set()


def _lines(answer: Answer) -> Iterator[dict[str, Any]]:
    """Yield JSON values, one for each line; the buffer holds at most one line and one chunk."""
    rest = b""
    for chunk in answer.chunks():
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (json.loads(line) for line in lines if line.strip())
    if rest.strip():
        yield json.loads(rest)


def _handle(line: dict[str, Any], on_status: OnStatus | None) -> str | None:
    if "error" in line:
        raise BuildError(str(line["error"]))
    kind, value = line.get("id"), line.get("aux")
    if kind == "moby.buildkit.trace" and isinstance(value, str) and on_status is not None:
        on_status(StatusResponse.FromString(base64.b64decode(value)))
    if kind == "moby.image.id" and isinstance(value, dict):
        return cast(str | None, cast(dict[str, Any], value).get("ID"))
    return None
