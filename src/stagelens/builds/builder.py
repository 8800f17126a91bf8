"""Build a context on an engine with the best backend that it has, and record what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

from stagelens import engine as engines
from stagelens.buildkit import (
    Auth,
    BuildError,
    BuildRequest,
    Cancel,
    Control,
    FileSend,
    FileSync,
    FolderSource,
    Secrets,
    Session,
    SshAgents,
    Transfer,
    UpgradeRefused,
    Upload,
    retry_transient,
    solve,
    transient_fault,
)
from stagelens.buildkit.context import load_ignore
from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse
from stagelens.buildkit.services import SessionService
from stagelens.builds.build_contexts import check_engine, read_build_contexts
from stagelens.builds.build_options import BuildOptions, with_build_options
from stagelens.builds.build_spec import BuildSpec, archived_dockerfile
from stagelens.builds.context_copy import ContextCopy
from stagelens.builds.failure import BuildFailed, locate_failure
from stagelens.builds.source_map import GraphCache, locate_graph, request_graph
from stagelens.builds.status_collector import StatusCollector
from stagelens.builds.trace import Backend, BuildTrace, LogLine, OnVertex, Vertex
from stagelens.concurrency import CallbackRelay, run_cancellable
from stagelens.dockerfile import Dockerfile, find_dockerfile, load, normalize_platform, parse
from stagelens.errors import StagelensError, short_traceback_on_interrupt

# The error of an engine that looks for an uploaded context on the network (moby/moby#47717).
_UNREADABLE_UPLOAD = "failed to read downloaded context"
UPLOAD_LIMITATIONS = (
    "without a session the engine cannot pull through our credentials, and there is no # syntax=, "
    "no secrets and no ssh; the whole context is sent each time",
)


@short_traceback_on_interrupt()
@with_build_options
def build(context: str | Path, **options: Unpack[BuildOptions]) -> BuildTrace:
    """Build an image, or files, from a Dockerfile.

    Parameters
    ----------
    context
        The build context: a folder, or a tar (plain, gzip, bzip2 or xz).
    dockerfile
        The path of the Dockerfile, in the context or elsewhere; by default `Dockerfile` in the context. For a
        tar, the name of a file in it.
    target
        The stage to stop at, by name or index; by default the last one.
    tags
        Names for the image.
    build_args
        Values of ARG instructions by name; None as a value leaves an argument out.
    labels
        Labels for the image.
    no_cache
        Whether to run every step again.
    pull
        Whether to look for newer base images in their registries.
    cache_from
        Images whose cache the build may use.
    secrets
        Values (bytes), files (Path) or environment variables (Env) for `RUN --mount=type=secret`, by id.
    ssh
        Sockets of agents for `RUN --mount=type=ssh`, by id (usually "default"); "" stands for SSH_AUTH_SOCK.
    output
        Where to export the result, such as `LocalFolder("dist")` or `TarFile("x.tar")`, instead of making an
        image.
    network
        The network mode of RUN instructions, such as "none" or "host".
    platform
        The platform to build for, by default the engine's; one, not a list.
    build_contexts
        Further build contexts by name, which FROM, COPY --from and mounts use: a folder,
        `docker-image://IMAGE`, or the URL of a Git repository or a file.
    engine
        The engine that builds; by default the one that `stagelens.engine.connect` finds.
    on_vertex
        Called during the build with each step that changes, and its new log lines.
    cancel
        Stops the build in the engine when it is called, from any thread.
    backend
        The only backend to use; by default the best one that the engine has.

    Returns
    -------
    BuildTrace
        What each step did, and the image.

    Raises
    ------
    DockerfileError
        If the Dockerfile cannot be read.
    SeveralPlatforms
        If `platform` is a list of platforms.
    StageNotFound
        If the Dockerfile has no stage `target`.
    BuildFailed
        If a step fails, or the engine refuses the Dockerfile; the error has the stage and the line.
    BuildCancelled
        If `cancel` was called.
    EngineNotFound
        If no engine answers.
    EngineFault
        If each attempt at the build met a fault of the engine.
    """
    folder = Path(context)
    build_args = dict(options.get("build_args") or {})
    given = {name: value for name, value in build_args.items() if value is not None}
    contexts = read_build_contexts(options.get("build_contexts"))
    platform = options.get("platform")
    if platform is not None:
        normalize_platform(platform)  # refuses several
    parse_options = _ParseOptions(
        build_args=given,
        platform=platform,
        build_platform=None,
        target=options.get("target"),
        build_contexts=[each.name for each in contexts],
    )
    engine = options.get("engine")
    if engine is None:
        # A mistake in the folder or the Dockerfile is reported without an engine.
        _read(folder, options.get("dockerfile"), parse_options)
        engine = engines.connect()
    parse_options["build_platform"] = engine.info.platform
    parsed, path = _read(folder, options.get("dockerfile"), parse_options)
    request = BuildRequest(
        dockerfile=path,
        tags=tuple(options.get("tags") or ()),
        target=target_name(parsed, options.get("target")),
        build_args=build_args,
        labels=dict(options.get("labels") or {}),
        cache_from=tuple(options.get("cache_from") or ()),
        no_cache=options.get("no_cache", False),
        pull=options.get("pull", False),
        network=options.get("network"),
        platform=platform,
        contexts={each.name: each.address for each in contexts},
    )
    spec = BuildSpec(
        folder,
        request,
        parsed.text,
        dict(options.get("secrets") or {}),
        dict(options.get("ssh") or {}),
        options.get("output"),
        contexts,
    )
    return run_build(
        engine,
        spec,
        parsed,
        options.get("on_vertex"),
        options.get("cancel"),
        options.get("backend"),
    )


def run_build(
    engine: engines.Engine,
    job: BuildSpec,
    dockerfile: Dockerfile,
    on_vertex: OnVertex | None = None,
    cancel: Cancel | None = None,
    backend: Backend | None = None,
) -> BuildTrace:
    """Run a build as `build` does; an interrupt takes effect when the engine has stopped the build."""
    if job.output is not None and job.request.tags:
        raise StagelensError("An exported result cannot have tags.")
    # An interrupt stops this build only: the caller may use `cancel` for another one.
    stop = Cancel()
    if cancel is not None:
        cancel.on_request(stop)

    def work(relay: CallbackRelay) -> BuildTrace:
        return _run(engine, job, dockerfile, relay.wrap(on_vertex), stop, backend)

    return run_cancellable(work, stop)


def _run(
    engine: engines.Engine,
    job: BuildSpec,
    dockerfile: Dockerfile,
    on_vertex: OnVertex,
    cancel: Cancel,
    backend: Backend | None,
) -> BuildTrace:
    """Build with a session, else by upload, else by the classic builder."""
    check_engine(engine.info, dockerfile)
    if engine.info.buildkit and backend in (None, "session"):
        try:
            return _Build(engine, job, dockerfile, on_vertex, cancel).with_session()
        except UpgradeRefused:
            if backend is not None or job.needs_session:
                raise
    if job.needs_session:
        raise StagelensError(
            "Secrets, SSH agents, named contexts and results other than images need a BuildKit session.",
            why="this engine has none" if backend is None else f"the backend {backend!r} was asked for",
            remedy="use Docker Engine 18.09 or newer: stagelens doctor",
        )
    if engine.info.buildkit and backend in (None, "upload"):
        return _Build(engine, job, dockerfile, on_vertex, cancel).with_upload()
    return _Build(engine, job, dockerfile, on_vertex, cancel).classic()


class _Build:
    def __init__(
        self,
        engine: engines.Engine,
        job: BuildSpec,
        dockerfile: Dockerfile,
        on_vertex: OnVertex,
        cancel: Cancel,
    ) -> None:
        self._engine = engine
        self._api = engine.build_api
        self._podman = engine.info.podman
        self._job = job
        self._dockerfile = dockerfile
        self._on_vertex = on_vertex
        self._cancel = cancel
        self._secrets = Secrets(job.secrets)
        self._collector = StatusCollector(dockerfile, self._secrets.mask)
        self._started = time.time()
        # Bytes of context, in all attempts.
        self._sent = 0

    def with_session(self) -> BuildTrace:
        return retry_transient(self._attempt_in_session, self._cancel)

    def _attempt_in_session(self) -> BuildTrace:
        """Build once; send only the files that the engine does not have from an earlier attempt."""
        job = self._job
        request, services = job.request, list[SessionService]([Auth(self._api), self._secrets])
        sync, counted = FileSync({}), _Counter(iter(()))
        if job.is_archive:
            sync = FileSync(job.context_trees())
            services.append(sync)
            counted, upload = _Counter(job.archive()[1]), Upload()
            request = replace(request, remote=upload.add("context", iter(counted)))
            services.append(upload)
        else:
            # The engine reads the ignore file itself; this reports a mistake in it with its line.
            load_ignore(job.context, job.dockerfile)
            request = replace(request, dockerfile=job.dockerfile.name)
            sync = FileSync(
                {
                    "context": FolderSource(job.context),
                    "dockerfile": job.dockerfile_tree(),
                    **job.context_trees(),
                }
            )
            services.append(sync)
        if job.ssh:
            services.append(SshAgents(job.ssh))
        if job.output is not None:
            services.append(job.output)
            request = replace(request, outputs=({"Type": job.output.exporter, "Attrs": {}},))

        def sent() -> int:
            return counted.count + sum(transfer.content_bytes for transfer in context())

        def context() -> list[Transfer]:
            # Newer engines request the Dockerfile each time, and no copy of it is reused.
            found = [transfer for transfer in sync.transfers if transfer.name != "dockerfile"]
            return sorted(found, key=lambda transfer: transfer.name)

        copy = ContextCopy(self._engine, job.context)
        try:
            with Session(self._api, services, shared_key=copy.shared_key) as session:
                image = self._attempt(
                    "session", lambda: self._solve_located(request, session.id), sent, session
                )
        finally:
            copy.update(sync.transfers)
        trace = self._trace("session", image)
        # The engine may read the ignore file once more for the graph.
        digests = list(dict.fromkeys(transfer.digest for transfer in context()))
        if job.is_archive or not all(digests):
            return trace
        return replace(trace, context_digest="-".join(digests))

    def _solve_located(self, request: BuildRequest, session: str) -> str | None:
        """Build, and find the instructions of the vertices by their digests, even if the build fails."""
        if request.remote is not None:  # an uploaded archive can be read only once
            return self._solve(request, session)
        attributes = replace(request, cache_from=()).frontend_attributes()
        cache = GraphCache([self._engine.info.id, self._dockerfile.text, attributes])
        stored = cache.load(session)
        if stored is not None:
            self._collector.locate(stored.by_vertex())

        def locate() -> None:
            if not self._collector.has_steps or (stored and stored.fits(self._collector.digests)):
                return
            graph = request_graph(self._api, session, attributes, self._cancel)
            if graph is not None and (found := locate_graph(self._dockerfile, graph)).fits(
                self._collector.digests
            ):
                self._report((vertex, ()) for vertex in self._collector.locate(found.by_vertex()))
                cache.store(session, graph, found)

        try:
            image = self._solve(request, session)
        except BuildError as error:
            if transient_fault(error) is None:
                locate()
            raise
        locate()
        return image

    def with_upload(self) -> BuildTrace:
        return retry_transient(self._attempt_upload, self._cancel)

    def _attempt_upload(self) -> BuildTrace:
        """Build once; each attempt sends the whole context."""
        name, body = self._job.archive()
        counted = _Counter(body)
        request = replace(self._job.request, dockerfile=name)
        try:
            image = self._attempt(
                "upload", lambda: self._solve(request, None, iter(counted)), lambda: counted.count
            )
        except BuildFailed as error:
            if _UNREADABLE_UPLOAD in str(error):
                raise _upload_refused(error) from error
            raise
        return self._trace("upload", image, UPLOAD_LIMITATIONS)

    def classic(self) -> BuildTrace:
        # This needs docker-py, which is slow to import.
        from stagelens.builds.classic import LIMITATIONS, PODMAN_LIMITATIONS, ClassicBuild

        build = ClassicBuild(self._dockerfile, self._on_vertex)
        name, body = self._job.archive()
        counted = _Counter(body)
        request = replace(self._job.request, dockerfile=name)

        def trace(image: str | None) -> BuildTrace:
            limitations = PODMAN_LIMITATIONS if self._podman else LIMITATIONS
            self._sent = counted.count
            return self._trace("classic", image, limitations, tuple(build.vertices))

        try:
            return trace(build.run(self._engine.api, request, iter(counted), self._cancel))
        except BuildError as error:
            raise self._failed(error, trace(None)) from None

    def _solve(
        self, request: BuildRequest, session: str | None, body: Iterator[bytes] | None = None
    ) -> str | None:
        if request.contexts and session is not None:
            return self._solve_with_contexts(request, session)
        api = self._api if body is None else self._engine.api
        return solve(api, request, session=session, body=body, on_status=self._on_status, cancel=self._cancel)

    def _solve_with_contexts(self, request: BuildRequest, session: str) -> str | None:
        """Build through BuildKit's control API: the engine's /build has no parameter for build contexts."""
        if not request.outputs:
            image = {"Type": "moby", "Attrs": {"name": ",".join(request.tags)} if request.tags else {}}
            request = replace(request, outputs=(image,))
        with Control(self._api) as control:
            answer = control.solve(request, session=session, on_status=self._on_status, cancel=self._cancel)
        return answer.get("containerimage.digest") or answer.get("containerimage.config.digest")

    def _on_status(self, status: StatusResponse) -> None:
        self._report(self._collector.add(status))

    def _report(self, changed: Iterable[tuple[Vertex, tuple[LogLine, ...]]]) -> None:
        for vertex, lines in changed:
            self._on_vertex(vertex, lines)

    def _attempt(
        self,
        backend: Backend,
        work: Callable[[], str | None],
        sent: Callable[[], int],
        session: Session | None = None,
    ) -> str | None:
        """Run one attempt and return the image; a BuildError means that another attempt may succeed."""
        try:
            return work()
        except BuildError as error:
            if session is not None:
                session.close()  # now the errors of our side are complete
                if session.errors:
                    raise session.errors[0] from None
            fault = transient_fault(error)
            if fault is None:
                raise self._failed(error, self._trace(backend, None)) from None
            self._report((vertex, ()) for vertex in self._collector.start_attempt())
            if isinstance(self._job.output, FileSend) and self._job.output.received_bytes:
                raise fault from None  # the output stream already has a part of the result
            raise
        finally:
            self._sent += sent()

    def _failed(self, error: BuildError, trace: BuildTrace) -> BuildFailed:
        return locate_failure(self._secrets.mask(error.what), replace(trace, failed=True))

    def _trace(
        self,
        backend: Backend,
        image: str | None,
        limitations: tuple[str, ...] = (),
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
            context_bytes=self._sent,
            limitations=limitations,
            request=self._job.request,
            build_contexts=self._job.build_contexts,
        )


def target_name(dockerfile: Dockerfile, target: str | None) -> str | None:
    """Return a target as BuildKit names it: the index, if the stage has no name."""
    if target is None:
        return None
    stage = dockerfile.stage(target)
    if stage.name is not None:
        return target
    return None if stage is dockerfile.stages[-1] else str(stage.index)


def _upload_refused(error: BuildFailed) -> StagelensError:
    return StagelensError(
        "This engine cannot build a context that is uploaded.",
        where=error.where,
        why="older engines with containerd's image store cannot read it (moby/moby#47717)",
        remedy="build with a session, which is the default, or use an engine that has moby/moby#49178",
    )


class _Counter:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.count += len(chunk)
            yield chunk


class _ParseOptions(TypedDict):
    build_args: Mapping[str, str]
    platform: str | None
    build_platform: str | None
    target: str | None
    build_contexts: Sequence[str]


def _read(context: Path, dockerfile: str | Path | None, options: _ParseOptions) -> tuple[Dockerfile, str]:
    """Return the parsed Dockerfile, and its path as a job has it."""
    if context.is_file():
        name, text = archived_dockerfile(context, dockerfile)
        return parse(text, f"{context}/{name}", **options), name
    if not context.is_dir():
        raise StagelensError(
            "The build context is not a folder.", where=str(context), remedy="give a folder, or a tar"
        )
    path = find_dockerfile(context, dockerfile)
    return load(path, **options), path.name if dockerfile is None else str(path.absolute())
