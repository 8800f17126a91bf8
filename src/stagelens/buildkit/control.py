"""BuildKit's control API behind `POST /grpc`: its cache, pruning, and builds without an image.

Source: api/services/control/control.proto of moby/buildkit. Docker Engine offers it since 18.09; here the
client is the HTTP/2 client, too.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stagelens import timeouts
from stagelens.buildkit.errors import BuildCancelled, BuildError, BuildKitError, RpcError
from stagelens.buildkit.grpc import Call, Client
from stagelens.buildkit.image_build import BuildRequest, Cancel, OnStatus
from stagelens.buildkit.proto.buildkit_pb2 import (
    BytesMessage,
    DiskUsageRequest,
    DiskUsageResponse,
    Empty,
    ListWorkersResponse,
    PruneRequest,
    SolveRequest,
    SolveResponse,
    StatusRequest,
    StatusResponse,
    UsageRecord,
)
from stagelens.buildkit.transport import upgrade

if TYPE_CHECKING:
    from stagelens.buildkit.dockerpy import EngineApi

_SERVICE = "/moby.buildkit.v1.Control"
_CONTENT = "/containerd.services.content.v1.Content"
_NOT_FOUND = 5  # of gRPC's status codes


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """A snapshot in BuildKit's cache.

    Attributes
    ----------
    id
        The record's id.
    type
        "regular", "source.local" (a cached context), "exec.cachemount", "frontend", "internal" or
        "source.git.checkout".
    size
        Bytes.
    description
        The step that created it.
    created
        Unix seconds.
    last_used
        Unix seconds, None if never used.
    usage_count
        How often it was used.
    in_use
        Whether a build uses it now.
    shared
        Whether it also belongs to an image.
    mutable
        Whether it can still change.
    parents
        The ids of the records that it builds on.
    """

    id: str
    type: str
    size: int
    description: str
    created: float
    last_used: float | None
    usage_count: int
    in_use: bool
    shared: bool
    mutable: bool
    parents: tuple[str, ...]


class Control:
    """A connection to the engine's BuildKit; use it as a context manager, or call `close`.

    Filters are containerd's: `id==…`, `type==regular`, `description~=…`. Commas join conditions that must all
    hold; of several filters one must match.

    Parameters
    ----------
    api
        The client of docker-py whose engine to connect to.

    Raises
    ------
    UpgradeRefused
        If the engine has no BuildKit.
    ConnectionLost
        If the engine does not answer.
    """

    def __init__(self, api: EngineApi) -> None:
        self._client = Client(upgrade(api, "/grpc"))

    def workers(self) -> tuple[str, ...]:
        """Return the ids of the workers that build; Docker Engine has one."""
        found = self._client.unary(f"{_SERVICE}/ListWorkers", Empty(), ListWorkersResponse)
        return tuple(record.id for record in found.record)

    def disk_usage(self, filters: Sequence[str] = ()) -> tuple[CacheRecord, ...]:
        """List the cache, largest record first; the engine takes seconds to measure new records.

        Parameters
        ----------
        filters
            Which records to list; all without filters.
        """
        request = DiskUsageRequest(filter=filters)
        found = self._client.unary(f"{_SERVICE}/DiskUsage", request, DiskUsageResponse)
        return tuple(sorted(map(_record, found.record), key=lambda record: (-record.size, record.id)))

    def prune(
        self,
        filters: Sequence[str] = (),
        *,
        everything: bool = False,
        keep_seconds: float = 0,
        keep_bytes: int = 0,
    ) -> Iterator[CacheRecord]:
        """Remove unused records, and yield each removed one; close the iterator to stop.

        Filters see id, type, shared and mutable here, but no description: find records with `disk_usage`,
        then prune them by id.

        Parameters
        ----------
        filters
            Which records to remove; all without filters.
        everything
            Whether to remove shared, internal and frontend records, too, which only make builds faster.
        keep_seconds
            Keep records that were used within this time.
        keep_bytes
            Keep this many bytes.
        """
        request = PruneRequest(
            filter=filters, all=everything, keep_duration=int(keep_seconds * 1e9), keep_bytes=keep_bytes
        )
        for record in self._client.stream(f"{_SERVICE}/Prune", request, UsageRecord):
            yield _record(record)

    def has_content(self, digest: str) -> bool:
        """Return whether the engine's content store has a blob.

        Parameters
        ----------
        digest
            The digest of the blob, such as a compressed layer.

        Raises
        ------
        RpcError
            If the engine has no content store (status 12).
        """
        try:
            # InfoRequest has one field, like this message; nothing of the answer is needed.
            self._client.unary(f"{_CONTENT}/Info", BytesMessage(data=digest.encode()), Empty)
        except RpcError as error:
            if error.code == _NOT_FOUND:
                return False
            raise
        return True

    def status(self, ref: str) -> Iterator[StatusResponse]:
        """Yield the events of a solve from its start to its end.

        Parameters
        ----------
        ref
            The solve, which may run on another connection.
        """
        return self._client.stream(f"{_SERVICE}/Status", StatusRequest(ref=ref), StatusResponse)

    def solve(
        self,
        request: BuildRequest,
        *,
        session: str,
        ref: str | None = None,
        attributes: Mapping[str, str] | None = None,
        on_status: OnStatus | None = None,
        cancel: Cancel | None = None,
    ) -> dict[str, str]:
        """Build with the engine's Dockerfile frontend.

        This is for results that go to the session (`request.outputs`) or are dropped;
        `stagelens.buildkit.solve` builds an image.

        Parameters
        ----------
        request
            What to build; `request.remote` is the context's address if the session does not send it.
        session
            The id of an open session.
        ref
            A name for this solve.
        attributes
            Further attributes of the frontend that `/build` has no parameter for, such as
            `{"context:NAME": "docker-image://…"}`.
        on_status
            Called with the events of the build.
        cancel
            Stops the build.

        Returns
        -------
        dict[str, str]
            The exporter's answer.

        Raises
        ------
        BuildError
            If the build fails.
        BuildCancelled
            If `cancel` was called.
        ConnectionLost
            If the connection ends.
        """
        ref = ref or uuid.uuid4().hex
        output = next(iter(request.outputs), dict[str, Any]())
        message = SolveRequest(
            ref=ref,
            session=session,
            frontend="dockerfile.v0",
            frontend_attrs=request.frontend_attributes() | dict(attributes or {}),
            exporter=output.get("Type", ""),
            exporter_attrs=output.get("Attrs", {}),
        )
        call = self._client.call(f"{_SERVICE}/Solve")
        events = StatusReader(self._client, ref, on_status) if on_status is not None else None
        if cancel is not None:
            cancel.on_request(call.cancel)
        try:
            return _answer(call, message)
        except BuildKitError as error:
            if cancel is not None and cancel.requested:
                raise BuildCancelled("The build was cancelled.") from None
            if isinstance(error, RpcError):
                raise BuildError(error.message) from None
            raise
        finally:
            call.cancel()
            if events is not None:
                events.close()

    def close(self) -> None:
        """End the connection, which cancels what runs on it."""
        self._client.close()

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def start_solve(client: Client, ref: str, session: str) -> Call:
    """Start a build without a frontend, for `Gateway`; it does not appear in the build history."""
    call = client.call(f"{_SERVICE}/Solve")
    call.send_request(SolveRequest(ref=ref, session=session, internal=True))
    return call


class StatusReader:
    """A thread that passes on the events of one solve."""

    def __init__(self, client: Client, ref: str, on_status: OnStatus) -> None:
        self._call = client.call(f"{_SERVICE}/Status")
        self._on_status = on_status
        self._error: BaseException | None = None
        # Before the thread starts: the engine forgets a finished build, and one from the cache is quick.
        with contextlib.suppress(BuildKitError):  # the solve raises
            self._call.send_request(StatusRequest(ref=ref))
        self._thread = threading.Thread(target=self._run, name="stagelens-status", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for message in self._call.receive():
                self._on_status(StatusResponse.FromString(message))
        except BuildKitError:
            return  # the solve raises
        except BaseException as error:
            self._error = error  # an error of the caller's function

    def close(self) -> None:
        """Wait for the last events, and raise the exception of `on_status`, if any."""
        self._thread.join(timeouts.current.build_status)
        self._call.cancel()
        self._thread.join()
        if self._error is not None:
            raise self._error


def _answer(call: Call, message: SolveRequest) -> dict[str, str]:
    call.send_request(message)
    answers = list(call.receive())
    call.check_status()
    return dict(SolveResponse.FromString(answers[0]).exporter_response) if answers else {}


def _record(wire: UsageRecord) -> CacheRecord:
    return CacheRecord(
        id=wire.id,
        type=wire.record_type,
        size=wire.size,
        description=wire.description,
        created=wire.created_at.ToNanoseconds() / 1e9,
        last_used=wire.last_used_at.ToNanoseconds() / 1e9 if wire.HasField("last_used_at") else None,
        usage_count=wire.usage_count,
        in_use=wire.in_use,
        shared=wire.shared,
        mutable=wire.mutable,
        parents=tuple(wire.parents) or ((wire.parent,) if wire.parent else ()),
    )
