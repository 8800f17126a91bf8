"""A build that the client steers, as a frontend would: solve graphs, and run programs over their results.

Source: frontend/gateway/pb/gateway.proto of moby/buildkit and its client's `Build` (client/build.go): a Solve
without a frontend opens the build, calls that name it reach its bridge, and `Return` ends it. Nothing is
made of it, no image and no record of history. A container of the gateway is no step: it has no key, its
mounts are not hashed, and it leaves nothing in the cache.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Generator, Mapping
from types import TracebackType
from typing import TypeVar

import docker
from google.protobuf.message import Message

from stagelens.buildkit.control import StatusReader, start_solve
from stagelens.buildkit.errors import BuildCancelled, BuildError, BuildKitError, RpcError
from stagelens.buildkit.grpc import Call, Client
from stagelens.buildkit.image_build import Cancel, OnStatus
from stagelens.buildkit.llb import LlbGraph
from stagelens.buildkit.proto.buildkit_pb2 import (
    BridgeSolveRequest,
    BridgeSolveResponse,
    Definition,
    Empty,
    ExecMessage,
    FdMessage,
    InitMessage,
    Mount,
    NewContainerRequest,
    PongResponse,
    ProcessMeta,
    ReleaseContainerRequest,
    Result,
    ReturnRequest,
)
from stagelens.buildkit.transport import upgrade
from stagelens.concurrency import defer_signals

_SERVICE = "/moby.buildkit.v1.frontend.LLBBridge"
_EXEC = "gateway.exec"
_RELEASE = "ReleaseContainer"
_NONE = -1
_NO_NETWORK = 2
_MAX_ERROR_BYTES = 4096
_CLOSE_TIMEOUT_SECONDS = 20.0
_CREATE_GRACE_SECONDS = 5.0

M = TypeVar("M", bound=Message)


class GatewayUnsupported(BuildKitError):
    """The engine's BuildKit runs no programs for clients: it is older than 0.8 (Docker Engine 20.10)."""


class Gateway:
    """An open build; use it as a context manager, or call `close`.

    session: the id of an open session, which brings the context. `on_status` gets the events of the build,
    `cancel` ends it: all that is under way then raises BuildCancelled.

    Raises
    ------
    UpgradeRefused: no BuildKit. GatewayUnsupported: one that runs no programs. ConnectionLost: no engine.
    """

    def __init__(
        self,
        api: docker.APIClient,
        session: str,
        *,
        on_status: OnStatus | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        self._cancel = cancel
        self._client = Client(upgrade(api, "/grpc"))
        self._events: StatusReader | None = None
        # Each with the seconds that it may still take when the build is to end.
        self._pending_calls: dict[Call, float] = {}
        self._containers: list[GatewayContainer] = []
        self._closed = False
        try:
            if cancel is not None:
                cancel.on_request(self._interrupt)
            ref = uuid.uuid4().hex
            self._metadata = [("buildkit-controlapi-buildid", ref)]
            self._build = start_solve(self._client, ref, session)
            offered = self.unary("Ping", Empty(), PongResponse).frontend_capabilities
            if not any(one.id == _EXEC and one.enabled for one in offered):
                raise GatewayUnsupported(
                    "This engine's BuildKit cannot look into a build.",
                    why=f"it does not offer {_EXEC}",
                    remedy="use Docker Engine 20.10 or newer: stagelens doctor",
                )
            if on_status is not None:
                self._events = StatusReader(self._client, ref, on_status)
        except BaseException:
            self._client.close()
            raise

    def dockerfile_graph(self, attributes: Mapping[str, str]) -> LlbGraph:
        """The graph that the engine's Dockerfile frontend makes of a Dockerfile; nothing runs yet.

        Raises
        ------
        BuildError: the frontend refused it. BuildCancelled, ConnectionLost.
        """
        return LlbGraph(self._solve(BridgeSolveRequest(frontend="dockerfile.v0", frontend_opt=attributes))[1])

    def solve(self, definition: Definition) -> str:
        """A name for what a graph ends in, to mount it; it is made when it is mounted."""
        return self._solve(BridgeSolveRequest(definition=definition))[0]

    def _solve(self, request: BridgeSolveRequest) -> tuple[str, Definition]:
        request.allow_result_return = request.allow_result_array_ref = True
        ref = self.unary("Solve", request, BridgeSolveResponse).result.ref
        return ref.id, getattr(ref, "def")

    def new_container(self, root: str, mounts: Mapping[str, str]) -> GatewayContainer:
        """Start a container on `root`, with results mounted read-only at absolute paths, and no network.

        Steps that the cache lacks run now.
        """
        made = [
            Mount(dest=path, result_id=result, input=_NONE, output=_NONE, readonly=True)
            for path, result in {"/": root, **mounts}.items()
        ]
        name = uuid.uuid4().hex
        request = NewContainerRequest(container_id=name, mounts=made, network=_NO_NETWORK)
        container = GatewayContainer(self, name)
        self._containers.append(container)
        # The engine makes it although the call was given up: then it would come after its release.
        self.unary("NewContainer", request, Empty, grace=_CREATE_GRACE_SECONDS)
        return container

    def unary(self, method: str, request: Message, answer: type[M], grace: float = 0.0) -> M:
        """Call one of the bridge's methods that answer with one message.

        When it is to end meanwhile, the answer is waited for `grace` seconds more.
        """
        with self.call(method, grace) as call, self.translate_errors():
            try:
                call.send_request(request)
                answers = list(call.receive())
            except BaseException as error:
                if grace and not isinstance(error, Exception):
                    _wait_for_answer(call, grace)
                raise
            call.check_status()
        return answer.FromString(b"".join(answers))

    @contextlib.contextmanager
    def call(self, method: str, grace: float = 0.0) -> Generator[Call]:
        """A call of the bridge; given up in the end, or `grace` seconds after the build is cancelled."""
        with self.translate_errors():
            call = self._client.call(f"{_SERVICE}/{method}", self._metadata)
        self._pending_calls[call] = grace
        try:
            if self._cancelled and not self._closed and method != _RELEASE:
                raise BuildCancelled("The build was cancelled.")
            yield call
        finally:
            self._pending_calls.pop(call, None)
            call.cancel()

    @property
    def _cancelled(self) -> bool:
        return self._cancel is not None and self._cancel.requested

    def _interrupt(self) -> None:
        """Wake whoever waits for the engine."""
        for call, grace in list(self._pending_calls.items()):
            if grace:
                _daemon_timer(grace, call.cancel).start()
            else:
                call.cancel()

    @contextlib.contextmanager
    def translate_errors(self) -> Generator[None]:
        """Within it, errors are told in the terms of a build."""
        try:
            yield
        except BuildKitError as error:
            if self._cancelled:
                raise BuildCancelled("The build was cancelled.") from None
            if isinstance(error, RpcError):
                raise BuildError(error.message) from None
            raise

    def close(self) -> None:
        """End the build and what still runs in it. Calling it again does nothing.

        An engine before BuildKit 0.10 keeps what a container has mounted until it is released: so that is
        asked for even when a connection could just be closed.
        """
        if self._closed:
            return
        self._closed = True
        last_resort = _daemon_timer(_CLOSE_TIMEOUT_SECONDS, self._client.close)
        with defer_signals():
            last_resort.start()
            try:
                for one in self._containers:
                    one.release()
                with contextlib.suppress(BuildKitError):
                    self.unary("Return", ReturnRequest(result=Result()), Empty)
                    list(self._build.receive())
                if self._events is not None:
                    self._events.close()
            finally:
                last_resort.cancel()
                last_resort.join()
                self._client.close()

    def __enter__(self) -> Gateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _wait_for_answer(call: Call, seconds: float) -> None:
    """Wait for the end of an answer that an interrupt cut short, at most so long."""
    with defer_signals():
        enough = _daemon_timer(seconds, call.cancel)
        enough.start()
        with contextlib.suppress(BuildKitError):
            for _ in call.receive():
                """Nobody asks what it was."""
        enough.cancel()


def _daemon_timer(seconds: float, action: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    return timer


class GatewayContainer:
    """A container of a gateway, in which programs run; released with its build at the latest."""

    def __init__(self, gateway: Gateway, name: str) -> None:
        self._gateway = gateway
        self._name = name
        self._released = False
        self._processes: list[ContainerProcess] = []

    def start(self, *arguments: str, env: Mapping[str, str]) -> ContainerProcess:
        """Start a program as root in /, and hand over its three streams."""
        meta = ProcessMeta(args=arguments, env=[f"{k}={v}" for k, v in env.items()], cwd="/", user="0:0")
        # One that nobody knows of would keep the container from its end.
        with defer_signals():
            self._processes.append(
                ContainerProcess(
                    self._gateway, InitMessage(container_id=self._name, meta=meta, fds=[0, 1, 2])
                )
            )
        return self._processes[-1]

    def release(self) -> None:
        """Stop what runs in it, and let go of its mounts. Calling it again does nothing."""
        if not self._released:
            self._released = True
            # Even one that is killed has not ended for BuildKit while its input is open (os/exec's Wait).
            for process in self._processes:
                process.close_input()
            with contextlib.suppress(BuildKitError):  # it tells of a program's exit code again
                request = ReleaseContainerRequest(container_id=self._name)
                self._gateway.unary(_RELEASE, request, Empty, grace=_CLOSE_TIMEOUT_SECONDS)


class ProcessEnded(BuildKitError):
    """A program in a container ended while more was expected of it."""


class ContainerProcess:
    """A running program: bytes in, bytes out. For one thread."""

    def __init__(self, gateway: Gateway, init: InitMessage) -> None:
        self._gateway = gateway
        self._stack = contextlib.ExitStack()
        self._call = self._stack.enter_context(gateway.call("ExecProcess"))
        self._id = uuid.uuid4().hex
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._messages = self._call.receive()
        self._input_ended = False
        self._send(ExecMessage(process_id=self._id, init=init))

    def write(self, data: bytes) -> None:
        """Send bytes to its standard input."""
        self._send(ExecMessage(process_id=self._id, file=FdMessage(fd=0, data=data)))

    def _send(self, message: ExecMessage) -> None:
        with self._gateway.translate_errors():
            self._call.send(message.SerializeToString())

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes of its standard output.

        Raises
        ------
        ProcessEnded: it ended before, with what it said on standard error. BuildCancelled, ConnectionLost.
        """
        while len(self._stdout) < count:
            self._receive()
        data = bytes(self._stdout[:count])
        del self._stdout[:count]
        return data

    def read_line(self, limit: int) -> bytes:
        """A line of its standard output, of at most `limit` bytes, without its end. Raises as `read`."""
        while (end := self._stdout.find(b"\n")) < 0:
            if len(self._stdout) > limit:
                raise ProcessEnded("A program in the engine wrote a line without an end.")
            self._receive()
        return self.read(end + 1)[:-1]

    def _receive(self) -> None:
        with self._gateway.translate_errors():
            message = next(self._messages, None)
            if message is None:
                self._call.check_status()
        step = ExecMessage.FromString(message) if message is not None else None
        match step and step.WhichOneof("input"):
            case "file" if step and step.file.fd == 1:
                self._stdout += step.file.data
            case "file" if step:
                self._stderr += step.file.data
                del self._stderr[:-_MAX_ERROR_BYTES]
            case "started" | "exit":
                pass  # output may still come
            case _:
                raise ProcessEnded(
                    "A program in the engine ended too early.",
                    why=self._stderr.decode("utf-8", "replace").strip() or None,
                )

    def close_input(self) -> None:
        """End its standard input. Calling it again does nothing."""
        if self._input_ended:
            return
        self._input_ended = True
        with contextlib.suppress(BuildKitError):
            self._send(ExecMessage(process_id=self._id, file=FdMessage(fd=0, eof=True)))

    def end(self) -> None:
        """End its standard input, and wait until it has ended: to kill it takes the engine seconds."""
        self.close_input()
        with contextlib.suppress(BuildKitError):
            while True:
                self._receive()
        self._stack.close()
