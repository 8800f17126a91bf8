"""A build that the client controls, as a frontend does: solve graphs, and run programs on their results.

Source: frontend/gateway/pb/gateway.proto of moby/buildkit and its client's `Build` (client/build.go): a Solve
without a frontend opens the build, calls that name it reach its bridge, and `Return` ends it. It creates
neither an image nor a history record. A gateway container is not a step: it has no cache key, its mounts are
not hashed, and it leaves nothing in the cache.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Generator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from stagelens import timeouts
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

if TYPE_CHECKING:
    from stagelens.buildkit.dockerpy import EngineApi

_SERVICE = "/moby.buildkit.v1.frontend.LLBBridge"
_EXEC = "gateway.exec"
_RELEASE = "ReleaseContainer"
_NONE = -1
_NO_NETWORK = 2
_MAX_ERROR_BYTES = 4096

M = TypeVar("M", bound=Message)


class GatewayUnsupported(BuildKitError):
    """The engine's BuildKit runs no programs for clients: it is older than 0.8 (Docker Engine 20.10)."""


class Gateway:
    """An open build; use it as a context manager, or call `close`.

    Parameters
    ----------
    api
        The client of docker-py whose engine to connect to.
    session
        The id of an open session, which sends the context.
    on_status
        Called with the events of the build.
    cancel
        Stops the build: pending calls then raise BuildCancelled.

    Raises
    ------
    UpgradeRefused
        If the engine has no BuildKit.
    GatewayUnsupported
        If its BuildKit runs no programs for clients.
    ConnectionLost
        If the engine does not answer.
    """

    def __init__(
        self,
        api: EngineApi,
        session: str,
        *,
        on_status: OnStatus | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        self._cancel = cancel
        self._client = Client(upgrade(api, "/grpc"))
        self._events: StatusReader | None = None
        # Each with its grace period in seconds.
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
                    "This engine's BuildKit cannot show the files of a build.",
                    why=f"it does not offer {_EXEC}",
                    remedy="use Docker Engine 20.10 or newer (stagelens doctor shows the version)",
                )
            if on_status is not None:
                self._events = StatusReader(self._client, ref, on_status)
        except BaseException:
            self._client.close()
            raise

    def dockerfile_graph(self, attributes: Mapping[str, str]) -> LlbGraph:
        """Return the graph that the engine's Dockerfile frontend creates; nothing runs yet.

        Parameters
        ----------
        attributes
            The frontend's attributes, such as `filename` and `target`.

        Raises
        ------
        BuildError
            If the frontend rejects the Dockerfile.
        BuildCancelled
            If the build was cancelled.
        ConnectionLost
            If the connection ends.
        """
        return LlbGraph(self._solve(BridgeSolveRequest(frontend="dockerfile.v0", frontend_opt=attributes))[1])

    def solve(self, definition: Definition) -> str:
        """Return a reference to the result of a graph, which BuildKit computes when it is mounted.

        Parameters
        ----------
        definition
            The graph.
        """
        return self._solve(BridgeSolveRequest(definition=definition))[0]

    def _solve(self, request: BridgeSolveRequest) -> tuple[str, Definition]:
        request.allow_result_return = request.allow_result_array_ref = True
        ref = self.unary("Solve", request, BridgeSolveResponse).result.ref
        return ref.id, getattr(ref, "def")

    def new_container(self, root: str, mounts: Mapping[str, str]) -> GatewayContainer:
        """Start a container without network. Steps that the cache lacks run now.

        Parameters
        ----------
        root
            The reference to its root file system.
        mounts
            References to mount read-only, by absolute path.
        """
        made = [
            Mount(dest=path, result_id=result, input=_NONE, output=_NONE, readonly=True)
            for path, result in {"/": root, **mounts}.items()
        ]
        name = uuid.uuid4().hex
        request = NewContainerRequest(container_id=name, mounts=made, network=_NO_NETWORK)
        container = GatewayContainer(self, name)
        self._containers.append(container)
        # The engine creates it even after the call was cancelled, and that could follow its release.
        self.unary("NewContainer", request, Empty, grace=timeouts.current.gateway_create)
        return container

    def unary(self, method: str, request: Message, answer: type[M], grace: float = 0.0) -> M:
        """Call a method of the bridge that answers with one message.

        Parameters
        ----------
        method
            The method's name.
        request
            The message to send.
        answer
            The class of the answer.
        grace
            Seconds to wait for the answer after the build was cancelled.
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
        """Open a call of the bridge, and cancel it in the end.

        Parameters
        ----------
        method
            The method's name.
        grace
            Seconds from a cancellation of the build to that of the call.
        """
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
        """Wake each thread that waits for the engine."""
        for call, grace in list(self._pending_calls.items()):
            if grace:
                _daemon_timer(grace, call.cancel).start()
            else:
                call.cancel()

    @contextlib.contextmanager
    def translate_errors(self) -> Generator[None]:
        """Return a context manager that translates errors of gRPC into a build's errors."""
        try:
            yield
        except BuildKitError as error:
            if self._cancelled:
                raise BuildCancelled("The build was cancelled.") from None
            if isinstance(error, RpcError):
                raise BuildError(error.message) from None
            raise

    def close(self) -> None:
        """End the build and its programs. A second call does nothing.

        An engine before BuildKit 0.10 retains the mounts of a container until its release: so each container
        is released even if the connection could just be closed.
        """
        if self._closed:
            return
        self._closed = True
        last_resort = _daemon_timer(timeouts.current.gateway_close, self._client.close)
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
    """Wait for the end of an interrupted answer, at most `seconds`."""
    with defer_signals():
        enough = _daemon_timer(seconds, call.cancel)
        enough.start()
        with contextlib.suppress(BuildKitError):
            for _ in call.receive():
                pass
        enough.cancel()


def _daemon_timer(seconds: float, action: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    return timer


class GatewayContainer:
    """A container of a gateway, in which programs run; the end of the build releases it at the latest."""

    def __init__(self, gateway: Gateway, name: str) -> None:
        self._gateway = gateway
        self._name = name
        self._released = False
        self._processes: list[ContainerProcess] = []

    def start(self, *arguments: str, env: Mapping[str, str]) -> ContainerProcess:
        """Start a program as root in /.

        Parameters
        ----------
        arguments
            The command.
        env
            Its environment.
        """
        meta = ProcessMeta(args=arguments, env=[f"{k}={v}" for k, v in env.items()], cwd="/", user="0:0")
        # The container cannot end while a program runs that is missing in this list.
        with defer_signals():
            self._processes.append(
                ContainerProcess(
                    self._gateway, InitMessage(container_id=self._name, meta=meta, fds=[0, 1, 2])
                )
            )
        return self._processes[-1]

    def release(self) -> None:
        """Stop the programs and release the mounts. A second call does nothing."""
        if not self._released:
            self._released = True
            # BuildKit waits for a killed program while its input is open (os/exec's Wait).
            for process in self._processes:
                process.close_input()
            with contextlib.suppress(BuildKitError):  # repeats a program's exit code
                request = ReleaseContainerRequest(container_id=self._name)
                self._gateway.unary(_RELEASE, request, Empty, grace=timeouts.current.gateway_close)


class ProcessEnded(BuildKitError):
    """A program in a container ended too early."""


class ContainerProcess:
    """A running program with its three standard streams; for use by one thread."""

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
        """Send bytes to the standard input."""
        self._send(ExecMessage(process_id=self._id, file=FdMessage(fd=0, data=data)))

    def _send(self, message: ExecMessage) -> None:
        with self._gateway.translate_errors():
            self._call.send(message.SerializeToString())

    def read(self, count: int) -> bytes:
        """Read exactly `count` bytes of the standard output.

        Raises
        ------
        ProcessEnded
            If the program ended before, with its standard error.
        BuildCancelled
            If the build was cancelled.
        ConnectionLost
            If the connection ends.
        """
        while len(self._stdout) < count:
            self._receive()
        data = bytes(self._stdout[:count])
        del self._stdout[:count]
        return data

    def read_line(self, limit: int) -> bytes:
        """Read a line of the standard output, and return it without its end. Raises the errors of `read`.

        Parameters
        ----------
        limit
            The most bytes to accept.
        """
        while (end := self._stdout.find(b"\n")) < 0:
            if len(self._stdout) > limit:
                raise ProcessEnded("A program in the engine wrote too long a line.")
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
                pass  # more output may follow
            case _:
                raise ProcessEnded(
                    "A program in the engine ended too early.",
                    why=self._stderr.decode("utf-8", "replace").strip() or None,
                )

    def close_input(self) -> None:
        """End the standard input. A second call does nothing."""
        if self._input_ended:
            return
        self._input_ended = True
        with contextlib.suppress(BuildKitError):
            self._send(ExecMessage(process_id=self._id, file=FdMessage(fd=0, eof=True)))

    def end(self) -> None:
        """End the standard input, and wait for the program: the engine takes seconds to kill one."""
        self.close_input()
        with contextlib.suppress(BuildKitError):
            while True:
                self._receive()
        self._stack.close()
