"""Looking into the stages of a build on the engine.

BuildKit returns the graph of the build. The tree at each point of the Dockerfile is mounted in one container,
whose only program is the file lister, and what is not stored from an earlier exploration is listed. All steps
come from the cache of the real build: no step is added, no image is needed, and nothing is left.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Container, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stagelens.buildkit import (
    Auth,
    BuildError,
    BuildRequest,
    Cancel,
    FileSync,
    FolderSource,
    Session,
    SessionService,
    retry_transient,
    transient_fault,
)
from stagelens.buildkit.context import load_ignore
from stagelens.buildkit.gateway import Gateway, ProcessEnded
from stagelens.buildkit.image_build import OnStatus
from stagelens.buildkit.llb import LlbGraph, OpOutput, image_definition
from stagelens.buildkit.proto.buildkit_pb2 import Definition, StatusResponse
from stagelens.builds import BuildContext, BuildSpec, ContextCopy, OnVertex
from stagelens.builds.builder import target_name
from stagelens.builds.status_collector import StatusCollector
from stagelens.dockerfile import Dockerfile, normalize_image_name
from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens.snapshot.file_lister import FileLister, Mounted, open_container
from stagelens.snapshot.host_layers import HostLayers, layer_folders
from stagelens.snapshot.points import CopyPaths, Point, PointOutput, locate_points, stage_points
from stagelens.snapshot.snapshot_cache import CACHE_VERSION, BuildSnapshots, Snapshot, SnapshotCache
from stagelens.snapshot.snapshot_walk import make_tables, walk_snapshots
from stagelens.snapshot.table import FileTable

_WORKERS = 2


class ExplorationFailed(StagelensError):
    """The engine could not show the files of the stages."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "The engine could not look into the stages.",
            why=why,
            remedy="build the project again: its steps must be in the engine's cache; then stagelens doctor",
        )


@dataclass(frozen=True, slots=True)
class Project:
    """A build that is asked for again.

    Attributes
    ----------
    dockerfile
        The Dockerfile.
    context
        The folder that is built.
    request
        What was asked of the engine.
    build_contexts
        The build contexts beside the main one.
    """

    dockerfile: Dockerfile
    context: Path
    request: BuildRequest
    build_contexts: tuple[BuildContext, ...] = ()


class StageInspector:
    """Looks into the stages of a project.

    Parameters
    ----------
    engine
        The engine that has the build.
    project
        The build to look into.
    on_vertex
        A function that is called for each vertex that changes, with its new log lines.
    cancel
        A handle that ends the work.
    """

    def __init__(
        self,
        engine: Engine,
        project: Project,
        on_vertex: OnVertex | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        self._engine = engine
        self._project = project
        self._on_vertex = on_vertex
        self._cancel = cancel
        self._collector = StatusCollector(project.dockerfile, str)

    @property
    def time(self) -> float:
        """A time no later than the start of the last listing, by the engine's clock in Unix seconds."""
        return max((vertex.completed or 0.0 for vertex in self._collector.vertices()), default=0.0)

    def list_points(
        self,
        stages: Sequence[int],
        sources: Mapping[Point, Point | None],
        cache: SnapshotCache,
    ) -> BuildSnapshots:
        """List the snapshots at the points of stages.

        Parameters
        ----------
        stages
            The indexes of the stages that the target needs, in order; the target is the last one.
        sources
            For each point of these stages the point to list (see `listed_points`).
        cache
            Where listings are stored; only what it lacks is listed.

        Returns
        -------
        BuildSnapshots
            The snapshot at each point that is listed, and the paths of COPY instructions.

        Raises
        ------
        ExplorationFailed, EngineFault, BuildCancelled, ConnectionLost
            If the engine cannot show the files.
        ContextError
            If the build context cannot be read.
        """
        return retry_transient(lambda: self._list_points(stages, sources, cache), self._cancel)

    def _list_points(
        self, stages: Sequence[int], sources: Mapping[Point, Point | None], cache: SnapshotCache
    ) -> BuildSnapshots:
        listed = list(dict.fromkeys(source for source in sources.values() if source is not None))
        with self._gateway() as gateway:
            outputs = self._point_outputs(gateway, stages)
            trees = {edge: graph for graph, edge in (outputs[point] for point in listed if point in outputs)}
            numbers = {edge: number for number, edge in enumerate(trees)}
            before = self._snapshots_below(stages, sources, outputs, numbers)
            cuts = [graph.definition_of(edge) for edge, graph in trees.items()]
            made = self._tables(gateway, cuts, before, cache)
        found = {point: made[numbers[outputs[point][1]]] for point in listed if point in outputs}
        # A stage upon scratch has no files before its first step.
        nothing = cache.store(None, FileTable.from_entries(()))
        return BuildSnapshots({point: found.get(point, nothing) for point in listed}, self._copies(outputs))

    def _copies(self, outputs: Mapping[Point, PointOutput]) -> dict[Point, CopyPaths]:
        """Return the paths of each COPY as the graph has them, with the settings of base images applied."""
        edges = self._project.dockerfile.edges
        wanted = [Point(edge.target, edge.instruction) for edge in edges if edge.kind == "copy"]
        found = {
            at: graph.copy_paths(edge.digest)
            for at in wanted
            if at in outputs
            for graph, edge in [outputs[at]]
        }
        return {at: CopyPaths(*copied) for at, copied in found.items() if copied is not None}

    def _point_outputs(self, gateway: Gateway, stages: Sequence[int]) -> dict[Point, PointOutput]:
        dockerfile, request = self._project.dockerfile, self._project.request

        def stage_graph(index: int) -> LlbGraph:
            target = target_name(dockerfile, dockerfile.stages[index].name or str(index))
            targeted = replace(request, dockerfile=Path(request.dockerfile).name, target=target)
            return gateway.dockerfile_graph(targeted.frontend_attributes())

        return locate_points(dockerfile, stages[-1], stages, stage_graph)

    def _snapshots_below(
        self,
        stages: Sequence[int],
        sources: Mapping[Point, Point | None],
        outputs: Mapping[Point, PointOutput],
        numbers: Mapping[OpOutput, int],
    ) -> dict[int, int | None]:
        """Return for each snapshot the listed one below it, or None. That one has a lower number."""
        found: dict[int, int | None] = {}
        for index in stages:
            last: int | None = None
            for point in stage_points(self._project.dockerfile.stages[index]):
                source = sources[point]
                number = numbers[outputs[source][1]] if source is not None and source in outputs else None
                if number is not None and number != last:
                    found.setdefault(number, last)
                last = number
        return found

    def _tables(
        self,
        gateway: Gateway,
        trees: Sequence[Definition],
        before: Mapping[int, int | None],
        cache: SnapshotCache,
    ) -> list[Snapshot]:
        with _lister(gateway, self._engine, trees) as lister:
            mounted = lister.mounted(len(trees))
            identities = [self._identity(one) for one in mounted]
            found: dict[int, Snapshot] = {}
            for number, identity in enumerate(identities):
                if identity is not None and (snapshot := cache.load(identity)) is not None:
                    found[number] = snapshot
            wanted = {
                number: last if mounted[number].overlay else None
                for number, last in before.items()
                if number not in found
            }
            uppers = [number for number, one in enumerate(mounted) if one.upper]
            stacks = {number: layer_folders(one) for number, one in enumerate(mounted)}
            tables = {number: one.table for number, one in found.items()}
            tables = _walk(lister, stacks, wanted, tables, uppers)
        found |= {number: cache.store(identities[number], table) for number, table in tables.items()}
        return [found[number] for number in range(len(trees))]

    def _identity(self, mounted: Mounted) -> str | None:
        """Return a name that stands for a snapshot, now and later; None if the engine reports none."""
        if not mounted.layers:
            return None
        facts = [
            CACHE_VERSION.encode(),
            self._engine.info.id.encode(),
            mounted.stamp.encode(),
            *mounted.layers,
        ]
        return hashlib.sha256(b"\0".join(facts)).hexdigest()

    def read_content(self, stages: Sequence[int], point: Point, key: bytes, most: int) -> bytes:
        """Read the first bytes of a file.

        Parameters
        ----------
        stages
            The indexes of the stages that the target needs, in order.
        point
            Where the file is read.
        key
            The key of the path (see `table.path_key`).
        limit
            How many bytes are read at most.

        Raises
        ------
        ExplorationFailed, EngineFault, BuildCancelled, ConnectionLost
            If the engine cannot show the file.
        """

        def read() -> bytes:
            with self._gateway() as gateway:
                graph, edge = self._point_outputs(gateway, stages)[point]
                with _lister(gateway, self._engine, [graph.definition_of(edge)]) as lister:
                    return lister.content(0, key, most)

        return retry_transient(read, self._cancel)

    @contextmanager
    def _gateway(self) -> Generator[Gateway]:
        project = self._project
        job = BuildSpec(
            project.context,
            project.request,
            project.dockerfile.text,
            build_contexts=project.build_contexts,
        )
        load_ignore(job.context, job.dockerfile)
        trees = {"context": FolderSource(job.context), "dockerfile": job.dockerfile_tree()}
        sync = FileSync(trees | job.context_trees())
        copy = ContextCopy(self._engine, job.context)
        try:
            with _gateway(self._engine, [sync], copy.shared_key, self._on_status, self._cancel) as gateway:
                yield gateway
        finally:
            copy.update(sync.transfers)

    def _on_status(self, status: StatusResponse) -> None:
        for vertex, lines in self._collector.add(status):
            if self._on_vertex is not None:
                self._on_vertex(vertex, lines)


def list_image(engine: Engine, image: str, cancel: Cancel | None = None) -> FileTable:
    """List the files of an image on the engine; nothing is exported.

    Parameters
    ----------
    engine
        The engine that has the image.
    image
        A name of the image.
    cancel
        A handle that ends the work.

    Returns
    -------
    FileTable
        The files of the image.

    Raises
    ------
    ExplorationFailed, EngineFault, BuildCancelled, ConnectionLost
        If the engine cannot show the files.
    """

    def listed() -> FileTable:
        with (
            _gateway(engine, [], secrets.token_hex(8), None, cancel) as gateway,
            _lister(gateway, engine, [image_definition(normalize_image_name(image))]) as lister,
        ):
            return _walk(lister, {}, {0: None}, {})[0]

    return retry_transient(listed, cancel)


def _walk(
    lister: FileLister,
    stacks: Mapping[int, Sequence[bytes]],
    wanted: Mapping[int, int | None],
    known: Mapping[int, FileTable],
    uppers: Container[int] = (),
) -> dict[int, FileTable]:
    """List snapshots (see `walk_snapshots`). The container ends while the tables are made."""
    with ThreadPoolExecutor(_WORKERS) as workers:
        listed = walk_snapshots(HostLayers(lister, stacks), workers, wanted, uppers)
        ended = workers.submit(lister.end)
        tables = make_tables(listed, wanted, known)
        ended.result()
    return tables


@contextmanager
def _lister(gateway: Gateway, engine: Engine, trees: Iterable[Definition]) -> Generator[FileLister]:
    lister = FileLister(open_container(gateway, engine, trees), _WORKERS)
    yield lister
    lister.end()


@contextmanager
def _gateway(
    engine: Engine,
    services: Iterable[SessionService],
    key: str,
    on_status: OnStatus | None,
    cancel: Cancel | None,
) -> Generator[Gateway]:
    with Session(engine.api, [Auth(engine.api), *services], shared_key=key) as session:
        try:
            with Gateway(engine.api, session.id, on_status=on_status, cancel=cancel) as gateway:
                yield gateway
        except (BuildError, ProcessEnded) as error:
            session.close()  # the errors of our side are complete then
            if session.errors:
                raise session.errors[0] from None
            if isinstance(error, BuildError) and transient_fault(error):
                raise
            raise ExplorationFailed(str(error)) from error
