"""Build a context on a real engine and keep what happened: session first, upload next, classic last."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from stagelens import engine as engines
from stagelens.build.classic import MISSING as CLASSIC_MISSING
from stagelens.build.classic import ClassicBuild
from stagelens.build.collect import Collector
from stagelens.build.errors import BuildFailed
from stagelens.build.trace import Backend, BuildTrace, LogLine, Vertex
from stagelens.buildkit import (
    Auth,
    BuildError,
    BuildRequest,
    Cancel,
    FileSend,
    FileSync,
    Secrets,
    Session,
    Source,
    SshAgents,
    UpgradeRefused,
    shared_key,
    solve,
)
from stagelens.buildkit.context import load_ignore, tar_stream
from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse
from stagelens.buildkit.services import Service
from stagelens.dockerfile import Dockerfile, full_name, load
from stagelens.errors import StagelensError

OnVertex = Callable[[Vertex, tuple[LogLine, ...]], None]
# What an engine says that looks for an uploaded context on the network (moby/moby#47717).
_UNREADABLE_UPLOAD = "failed to read downloaded context"
# Names of vertices that look an image up: frontend/dockerfile/dockerfile2llb/convert.go.
_METADATA = "[internal] load metadata for "
UPLOAD_MISSING = (
    "without a session the engine cannot pull through our credentials, and there is no # syntax=, "
    "no secrets and no ssh; the whole context is sent each time",
)


@dataclass(frozen=True, slots=True)
class Job:
    """All that a build needs besides the engine: made by `build`, and by the snapshot room for its probes.

    `text` replaces the Dockerfile's text; `output` receives the result as a tar instead of an image.
    """

    context: Path
    request: BuildRequest
    text: str
    secrets: Mapping[str, bytes | Path] = field(default_factory=dict[str, "bytes | Path"], repr=False)
    ssh: Mapping[str, str] = field(default_factory=dict[str, str])
    output: IO[bytes] | None = None


def build(
    context: str | Path,
    *,
    dockerfile: str | Path | None = None,
    target: str | None = None,
    tags: Sequence[str] = (),
    build_args: Mapping[str, str | None] | None = None,
    labels: Mapping[str, str] | None = None,
    no_cache: bool = False,
    pull: bool = False,
    cache_from: Sequence[str] = (),
    secrets: Mapping[str, bytes | Path] | None = None,
    ssh: Mapping[str, str] | None = None,
    network: str | None = None,
    platform: str | None = None,
    engine: engines.Engine | None = None,
    on_vertex: OnVertex | None = None,
    cancel: Cancel | None = None,
    backend: Backend | None = None,
) -> BuildTrace:
    """Build the folder `context` and return what happened.

    Parameters
    ----------
    dockerfile: its path; `Dockerfile` in the context unless told.
    target: the stage to stop at. tags: names for the image. build_args: ARG values.
    secrets: values (bytes) or files (Path) for `RUN --mount=type=secret`, by id.
    ssh: agents' sockets for `RUN --mount=type=ssh`, by id ("default").
    on_vertex: called, while the build runs, with each vertex that changed and its new log lines.
    cancel: call it from anywhere to stop the build in the engine.
    backend: use this one and no other; by default the best that the engine has.

    Raises
    ------
    DockerfileError: the Dockerfile cannot be read. BuildFailed: the build failed, with stage and line.
    BuildCancelled: `cancel` was called. EngineNotFound: there is no engine.
    """
    folder = Path(context)
    if not folder.is_dir():
        raise StagelensError("The build context is not a folder.", where=str(context), remedy="give a folder")
    path = Path(dockerfile) if dockerfile else folder / "Dockerfile"
    parsed = load(path, {k: v for k, v in (build_args or {}).items() if v is not None})
    request = BuildRequest(
        dockerfile=path.name,
        tags=tuple(tags),
        target=target,
        build_args=dict(build_args or {}),
        labels=dict(labels or {}),
        cache_from=tuple(cache_from),
        no_cache=no_cache,
        pull=pull,
        network=network,
        platform=platform,
    )
    job = Job(folder, request, parsed.text, dict(secrets or {}), dict(ssh or {}))
    return run(engine or engines.connect(), job, parsed, on_vertex, cancel, backend)


def run(
    engine: engines.Engine,
    job: Job,
    dockerfile: Dockerfile,
    on_vertex: OnVertex | None = None,
    cancel: Cancel | None = None,
    backend: Backend | None = None,
) -> BuildTrace:
    """Run a job; see `build`."""
    if engine.info.buildkit and backend in (None, "session"):
        try:
            return _Run(engine, job, dockerfile, on_vertex, cancel).with_session()
        except UpgradeRefused:
            if backend is not None:
                raise
    if engine.info.buildkit and backend in (None, "upload"):
        return _Run(engine, job, dockerfile, on_vertex, cancel).with_upload()
    return _Run(engine, job, dockerfile, on_vertex, cancel).classic()


class _Run:
    def __init__(
        self,
        engine: engines.Engine,
        job: Job,
        dockerfile: Dockerfile,
        on_vertex: OnVertex | None,
        cancel: Cancel | None,
    ) -> None:
        self._api = engine.api
        self._job = job
        self._dockerfile = dockerfile
        self._on_vertex = on_vertex
        self._cancel = cancel
        self._collector = Collector(dockerfile)
        self._started = time.time()

    def with_session(self) -> BuildTrace:
        job = self._job
        with _dockerfile_folder(job) as folder:
            sync = FileSync({"context": Source(job.context), "dockerfile": Source(folder)})
            services: list[Service] = [sync, Auth(self._api)]
            if job.secrets:
                services.append(Secrets(job.secrets))
            if job.ssh:
                services.append(SshAgents(job.ssh))
            request = job.request
            if job.output is not None:
                services.append(FileSend(job.output))
                request = replace(request, outputs=({"Type": "tar", "Attrs": {}},))
            with Session(self._api, services, shared_key=shared_key(job.context)) as session:
                image = self._solving("session", lambda: self._solve(request, session.id), session.errors)
            # Newer engines ask for the Dockerfile each time: they look at no kept copy of it.
            sent = sum(transfer.content_bytes for transfer in sync.transfers if transfer.name == "context")
            return self._trace("session", image, sent)

    def with_upload(self) -> BuildTrace:
        job = self._job
        request, extra = job.request, list[tuple[str, bytes]]()
        own = job.context / request.dockerfile
        if not own.is_file() or own.read_bytes() != job.text.encode():
            request = replace(request, dockerfile=".stagelens.Dockerfile")
            extra = [(request.dockerfile, job.text.encode())]
        body = tar_stream(job.context, load_ignore(job.context, job.request.dockerfile), extra)
        counted = _Counter(body)
        try:
            image = self._solving("upload", lambda: self._solve(request, None, iter(counted)))
        except BuildFailed as error:
            if _UNREADABLE_UPLOAD in str(error):
                raise _upload_refused(error) from error
            raise
        return self._trace("upload", image, counted.count, UPLOAD_MISSING)

    def classic(self) -> BuildTrace:
        build = ClassicBuild(self._dockerfile, self._on_vertex or (lambda vertex, lines: None))
        job = self._job
        try:
            image = build.run(self._api, job.context, job.request, job.text, self._cancel)
        except BuildError as error:
            trace = self._trace("classic", None, 0, CLASSIC_MISSING, tuple(build.vertices))
            raise self._failed(error, trace) from None
        return self._trace("classic", image, 0, CLASSIC_MISSING, tuple(build.vertices))

    def _solve(
        self, request: BuildRequest, session: str | None, body: Iterator[bytes] | None = None
    ) -> str | None:
        return solve(
            self._api, request, session=session, body=body, on_status=self._take, cancel=self._cancel
        )

    def _take(self, status: StatusResponse) -> None:
        for vertex, lines in self._collector.take(status):
            if self._on_vertex is not None:
                self._on_vertex(vertex, lines)

    def _solving(
        self, backend: Backend, work: Callable[[], str | None], errors: Sequence[BaseException] = ()
    ) -> str | None:
        try:
            return work()
        except BuildError as error:
            if errors:
                raise errors[0] from None
            raise self._failed(error, self._trace(backend, None, 0)) from None

    def _failed(self, error: BuildError, trace: BuildTrace) -> BuildFailed:
        for vertex in trace.vertices:
            if vertex.error and vertex.stage is not None and vertex.instruction is not None:
                stage = self._dockerfile.stages[vertex.stage]
                # Vertices that were only stopped because another one failed say so.
                if "context canceled" not in vertex.error:
                    instruction = stage.instructions[vertex.instruction]
                    return BuildFailed(vertex.error, trace, stage, instruction, vertex.logs)
        return self._image_failed(trace) or BuildFailed(error.what, trace)

    def _image_failed(self, trace: BuildTrace) -> BuildFailed | None:
        """The error of an image that could not be had, at the first line that names it."""
        missing = {v.name.removeprefix(_METADATA): v for v in trace.vertices if v.error}
        for edge in self._dockerfile.edges:
            if isinstance(edge.source, str) and (vertex := missing.get(full_name(edge.source))):
                stage = self._dockerfile.stages[edge.target]
                registry = vertex.name.removeprefix(_METADATA).partition("/")[0]
                instruction = stage.instructions[edge.instruction]
                return BuildFailed(vertex.error, trace, stage, instruction, registry=registry)
        return None

    def _trace(
        self,
        backend: Backend,
        image: str | None,
        sent: int,
        missing: tuple[str, ...] = (),
        vertices: tuple[Vertex, ...] | None = None,
    ) -> BuildTrace:
        return BuildTrace(
            dockerfile=self._dockerfile,
            vertices=self._collector.vertices() if vertices is None else vertices,
            backend=backend,
            image_id=image,
            tags=self._job.request.tags,
            target=self._job.request.target,
            started=self._started,
            completed=time.time(),
            context_bytes=sent,
            missing=missing,
            request=self._job.request,
        )


def _upload_refused(error: BuildFailed) -> StagelensError:
    return StagelensError(
        "This engine cannot build a context that is uploaded.",
        where=error.where,
        why="with containerd's image store, older engines fail at it (moby/moby#47717)",
        remedy="build with a session, which is the default; or use an engine with moby/moby#49178",
    )


class _Counter:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.count += len(chunk)
            yield chunk


@contextmanager
def _dockerfile_folder(job: Job) -> Generator[Path]:
    """A folder with just the Dockerfile's text: what was parsed is what is built."""
    with tempfile.TemporaryDirectory(prefix="stagelens-") as name:
        folder = Path(name)
        (folder / job.request.dockerfile).write_bytes(job.text.encode())
        for own in (f"{job.request.dockerfile}.dockerignore",):
            if (job.context / own).is_file():
                (folder / own).write_bytes((job.context / own).read_bytes())
        yield folder
