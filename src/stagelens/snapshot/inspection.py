"""Looks into the stages of a build on the engine.

BuildKit returns the graph of the build. The tree at each point of the Dockerfile is mounted in one container,
whose only program is the file lister, and what is not known yet is listed. All steps come from the cache of
the real build; no step is added, no image is needed, and nothing is left.
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
    shared_key,
    transient_fault,
)
from stagelens.buildkit.context import load_ignore
from stagelens.buildkit.gateway import Gateway, ProcessEnded
from stagelens.buildkit.image_build import OnStatus
from stagelens.buildkit.llb import LlbGraph, OpOutput, image_definition
from stagelens.buildkit.proto.buildkit_pb2 import Definition, StatusResponse
from stagelens.builds import BuildSpec, OnVertex
from stagelens.builds.builder import target_name
from stagelens.builds.status_collector import StatusCollector
from stagelens.dockerfile import Dockerfile, normalize_image_name
from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens.snapshot.file_lister import FileLister, Mounted, open_container
from stagelens.snapshot.host_layers import HostLayers, layer_folders
from stagelens.snapshot.points import CopyPaths, Point, PointOutput, locate_points, stage_points
from stagelens.snapshot.snapshot_cache import BuildSnapshots, Snapshot, SnapshotCache
from stagelens.snapshot.snapshot_walk import make_tables, walk_snapshots
from stagelens.snapshot.table import FileTable

_WORKERS = 2


class ExplorationFailed(StagelensError):
    """The engine could not show what is in the stages."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "The engine could not look into the stages.",
            why=why,
            remedy="build the project again: its steps must be in the engine's cache; then stagelens doctor",
        )


@dataclass(frozen=True, slots=True)
class Project:
    """What a build was made of, to be asked for again."""

    dockerfile: Dockerfile
    context: Path
    request: BuildRequest


class StageInspector:
    """Looks into a project's stages."""

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
        """When the last probe began at the earliest, by the engine's clock in Unix seconds."""
        return max((vertex.completed or 0.0 for vertex in self._collector.vertices()), default=0.0)

    def explored(
        self,
        stages: Sequence[int],
        sources: Mapping[Point, Point | None],
        cache: SnapshotCache,
    ) -> BuildSnapshots:
        """The snapshots at the points that are listed, each as the engine has it now, and what COPYs do.

        Raises
        ------
        ExplorationFailed, EngineFault, BuildCancelled, ConnectionLost
            If the engine cannot show the files.
        ContextError
            If the build context cannot be read.
        """
        return retry_transient(lambda: self._explored(stages, sources, cache), self._cancel)

    def _explored(
        self, stages: Sequence[int], sources: Mapping[Point, Point | None], cache: SnapshotCache
    ) -> BuildSnapshots:
        listed = list(dict.fromkeys(source for source in sources.values() if source is not None))
        with self._gateway() as gateway:
            places = self._places(gateway, stages)
            trees = {edge: graph for graph, edge in (places[point] for point in listed if point in places)}
            numbers = {edge: number for number, edge in enumerate(trees)}
            before = self._before(stages, sources, places, numbers)
            cuts = [graph.definition_of(edge) for edge, graph in trees.items()]
            made = self._tables(gateway, cuts, before, cache)
        found = {point: made[numbers[places[point][1]]] for point in listed if point in places}
        # A stage upon scratch has no files before its first step.
        nothing = cache.store(None, FileTable.from_entries(()))
        return BuildSnapshots({point: found.get(point, nothing) for point in listed}, self._copies(places))

    def _copies(self, places: Mapping[Point, PointOutput]) -> dict[Point, CopyPaths]:
        """Of each COPY with a source of its own what the graph says, where base images' settings count."""
        edges = self._project.dockerfile.edges
        wanted = [Point(edge.target, edge.instruction) for edge in edges if edge.kind == "copy"]
        found = {
            at: graph.copy_paths(edge.digest) for at in wanted if at in places for graph, edge in [places[at]]
        }
        return {at: CopyPaths(*copied) for at, copied in found.items() if copied is not None}

    def _places(self, gateway: Gateway, stages: Sequence[int]) -> dict[Point, PointOutput]:
        dockerfile, request = self._project.dockerfile, self._project.request

        def of_stage(index: int) -> LlbGraph:
            target = target_name(dockerfile, dockerfile.stages[index].name or str(index))
            asked = replace(request, dockerfile=Path(request.dockerfile).name, target=target)
            return gateway.dockerfile_graph(asked.frontend_attributes())

        return locate_points(dockerfile, stages[-1], stages, of_stage)

    def _before(
        self,
        stages: Sequence[int],
        sources: Mapping[Point, Point | None],
        places: Mapping[Point, PointOutput],
        numbers: Mapping[OpOutput, int],
    ) -> dict[int, int | None]:
        """For each snapshot the one that it was made upon, if that is among them; those come earlier."""
        found: dict[int, int | None] = {}
        for index in stages:
            last: int | None = None
            for point in stage_points(self._project.dockerfile.stages[index]):
                source = sources[point]
                number = numbers[places[source][1]] if source is not None and source in places else None
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
        """What stands for a snapshot, now and later; None where the engine does not say."""
        if not mounted.layers:
            return None
        facts = [self._engine.info.id.encode(), mounted.stamp.encode(), *mounted.layers]
        return hashlib.sha256(b"\0".join(facts)).hexdigest()

    def content(self, stages: Sequence[int], point: Point, key: bytes, most: int) -> bytes:
        """The first bytes of a file at a point, `most` of them; its key is that of its table.

        Raises
        ------
        Those of `snapshots`.
        """

        def read() -> bytes:
            with self._gateway() as gateway:
                graph, edge = self._places(gateway, stages)[point]
                with _lister(gateway, self._engine, [graph.definition_of(edge)]) as lister:
                    return lister.content(0, key, most)

        return retry_transient(read, self._cancel)

    @contextmanager
    def _gateway(self) -> Generator[Gateway]:
        project = self._project
        job = BuildSpec(project.context, project.request, project.dockerfile.text)
        load_ignore(job.context, job.dockerfile)
        sync = FileSync({"context": FolderSource(job.context), "dockerfile": job.dockerfile_tree()})
        key = shared_key(job.context)
        with _gateway(self._engine, [sync], key, self._take, self._cancel) as gateway:
            yield gateway

    def _take(self, status: StatusResponse) -> None:
        for vertex, lines in self._collector.take(status):
            if self._on_vertex is not None:
                self._on_vertex(vertex, lines)


def list_image(engine: Engine, image: str, cancel: Cancel | None = None) -> FileTable:
    """The files of an image that the engine has, under a name of it; nothing is exported.

    Raises
    ------
    ExplorationFailed, EngineFault: the engine could not show them. BuildCancelled: `cancel` was called.
    ConnectionLost.
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
    """See `walk_snapshots`. The container ends while tables are made."""
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
            session.close()  # what our side failed with is complete then
            if session.errors:
                raise session.errors[0] from None
            if isinstance(error, BuildError) and transient_fault(error):
                raise
            raise ExplorationFailed(str(error)) from error
