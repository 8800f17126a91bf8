"""BuildKit's own interface behind `POST /grpc`: what its cache holds, pruning, and solving without an image.

Source: api/services/control/control.proto of moby/buildkit. Docker Engine has it since 18.09; the roles are
the usual ones here, we are the HTTP/2 client.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import docker

from stagelens.buildkit.errors import BuildCancelled, BuildError, BuildKitError, RpcError
from stagelens.buildkit.grpc import Call, Client
from stagelens.buildkit.image_build import BuildRequest, Cancel, OnStatus
from stagelens.buildkit.proto.buildkit_pb2 import (
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

_SERVICE = "/moby.buildkit.v1.Control"
_STATUS_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """A snapshot in BuildKit's cache.

    `type` is "regular", "source.local" (a kept context), "exec.cachemount", "frontend", "internal" or
    "source.git.checkout". `size` is in bytes; times are Unix seconds, `last_used` None where it never was.
    `shared` ones also belong to an image; `description` names the step that made it.
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

    Filters are containerd's: `id==…`, `type==regular`, `description~=…`, joined by commas to mean all of
    them; several filters mean any of them.

    Raises
    ------
    UpgradeRefused: the engine has no BuildKit. ConnectionLost: it cannot be reached.
    """

    def __init__(self, api: docker.APIClient) -> None:
        self._client = Client(upgrade(api, "/grpc"))

    def workers(self) -> tuple[str, ...]:
        """The ids of the workers that build; Docker Engine has one."""
        found = self._client.unary(f"{_SERVICE}/ListWorkers", Empty(), ListWorkersResponse)
        return tuple(record.id for record in found.record)

    def disk_usage(self, filters: Sequence[str] = ()) -> tuple[CacheRecord, ...]:
        """What the cache holds, largest first; takes seconds while the engine measures new records."""
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
        """Remove what is not in use, yielding each record that has gone; close the iterator to stop.

        `everything` includes what only speeds builds up (shared, internal and frontend records);
        `keep_seconds` spares what was used that recently, `keep_bytes` leaves that much. Filters see id,
        type, shared and mutable here, and no description: look that up with `disk_usage`, prune by id.
        """
        request = PruneRequest(
            filter=filters, all=everything, keep_duration=int(keep_seconds * 1e9), keep_bytes=keep_bytes
        )
        for record in self._client.stream(f"{_SERVICE}/Prune", request, UsageRecord):
            yield _record(record)

    def status(self, ref: str) -> Iterator[StatusResponse]:
        """The events of the solve `ref` from its start to its end; it may be another connection's."""
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
        """Build with the engine's Dockerfile frontend and return what its exporter says.

        For results that go to the session (`request.outputs`) or nowhere; `stagelens.buildkit.solve` is the
        way to an image. `attributes` are further ones for the frontend: what `/build` has no parameter for,
        such as `{"context:NAME": "docker-image://…"}`. `request.remote` is the context's address, as there.

        Raises
        ------
        BuildError: the build failed; BuildCancelled: `cancel` was called; ConnectionLost: no engine.
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
        """End the connection; what runs on it is cancelled."""
        self._client.close()

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def start_solve(client: Client, ref: str, session: str) -> Call:
    """Begin a build without a frontend, which the caller steers (see `Gateway`); it is in no history."""
    call = client.call(f"{_SERVICE}/Solve")
    call.send_request(SolveRequest(ref=ref, session=session, internal=True))
    return call


class StatusReader:
    """A thread that hands the events of one solve on."""

    def __init__(self, client: Client, ref: str, on_status: OnStatus) -> None:
        self._call = client.call(f"{_SERVICE}/Status")
        self._on_status = on_status
        self._error: BaseException | None = None
        # Asked before the thread has its turn: a build from the cache may be over by then, and is forgotten.
        with contextlib.suppress(BuildKitError):  # the solve tells
            self._call.send_request(StatusRequest(ref=ref))
        self._thread = threading.Thread(target=self._run, name="stagelens-status", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for message in self._call.receive():
                self._on_status(StatusResponse.FromString(message))
        except BuildKitError:
            return  # the solve tells
        except BaseException as error:
            self._error = error  # the caller's own

    def close(self) -> None:
        """Wait for the last events. Raises what `on_status` raised."""
        self._thread.join(_STATUS_TIMEOUT_SECONDS)
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
