"""The instructions behind the vertices of a build, by BuildKit's own digests and source map.

The engine's Dockerfile frontend returns the graph of a build with the lines that each op is made from, and
the digest of an op is the digest of its vertex. The op of the build context holds the id of the session: so
the graph must come from the session of the build, or its digests are calculated for that session.
docs/explanation/steps.md has the measurements.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stagelens import timeouts
from stagelens.buildkit import BuildKitError, Cancel
from stagelens.buildkit.llb import LlbGraph, OpOutput, replace_session
from stagelens.dockerfile import (
    STEP_KEYWORDS,
    Dockerfile,
    Instruction,
    locate_vertex,
    normalize_image_name,
    stages_of_vertex,
)
from stagelens.file_cache import LruFileCache
from stagelens.paths import cache_dir

if TYPE_CHECKING:
    from stagelens.buildkit.dockerpy import EngineApi

_MAX_BYTES = 16 << 20
_VERSION = 2  # of the rules by which ops are located
_At = tuple[int, int]  # the indexes of a stage and of an instruction in that stage


@dataclass(frozen=True, slots=True)
class OpLocation:
    """The instructions that an op belongs to, as indexes of stages and of instructions.

    Attributes
    ----------
    instructions
        The instructions whose step it is: several where stages have equal steps. An ONBUILD instruction of a
        base is a step of the FROM that runs it.
    part_of
        The instructions whose step needs it: it is a download, an inline file, an image that files are copied
        from, or it attaches the result of a `COPY --link`.
    """

    instructions: tuple[_At, ...] = ()
    part_of: tuple[_At, ...] = ()


def locate_ops(dockerfile: Dockerfile, graph: LlbGraph) -> dict[str, OpLocation]:
    """Find the instructions of the ops of a graph; BuildKit's internal ops are left out.

    Parameters
    ----------
    dockerfile
        The Dockerfile of the build.
    graph
        The graph that the engine's frontend made of it.

    Returns
    -------
    dict
        The location of each op by its digest. A graph without a source map is read by the names of its ops.
    """
    lines = graph.first_lines(dockerfile.text)
    located: dict[str, OpLocation] = {}
    if lines:
        at_line = {
            line: (stage.index, instruction)
            for stage in dockerfile.stages
            for instruction in stage.instructions
            for line in range(instruction.start_line, instruction.end_line + 1)
        }
        for digest, found in lines.items():
            located[digest] = _by_lines(dockerfile, graph, digest, [at_line.get(line) for line in found])
    else:
        for digest, name in graph.named_ops():
            if (at := locate_vertex(dockerfile, name)) is not None:
                located[digest] = _location(graph, digest, [at])
    located = {
        digest: located[digest] for digest in graph.ops() if located.get(digest, OpLocation()) != OpLocation()
    }
    return _with_inputs(graph, _with_equal_steps(dockerfile, graph, located))


def _by_lines(
    dockerfile: Dockerfile, graph: LlbGraph, digest: str, found: Iterable[tuple[int, Instruction] | None]
) -> OpLocation:
    name = graph.name(digest)
    instructions: list[_At] = []
    for one in found:
        if one is not None and (one[1].keyword in STEP_KEYWORDS or graph.kind(digest) == "source"):
            instructions.append((one[0], one[1].index))
        elif one is not None and "] ONBUILD " in name:
            instructions.append((one[0], 0))
        else:
            # Older BuildKits give the line in the text of the ONBUILD instruction, which is 1.
            instructions += [(stage.index, 0) for stage in stages_of_vertex(dockerfile, name)]
    return _location(graph, digest, instructions)


def _location(graph: LlbGraph, digest: str, found: Iterable[_At]) -> OpLocation:
    at = sorted(set(found))
    match graph.kind(digest):
        case "merge":
            return OpLocation((), tuple(at))
        case "source":
            return OpLocation(tuple(one for one in at if not one[1]), tuple(one for one in at if one[1]))
        case _:
            return OpLocation(tuple(at))


def _with_equal_steps(
    dockerfile: Dockerfile, graph: LlbGraph, located: dict[str, OpLocation]
) -> dict[str, OpLocation]:
    """Add the instructions whose op is an equal one's: older BuildKits give the lines of one of them."""
    ops = {at: digest for digest, location in located.items() for at in location.instructions}
    above: dict[str | None, list[str]] = {}
    for digest in located:
        parent = graph.parent(graph.root_output(digest))
        above.setdefault(parent.digest if parent else None, []).append(digest)
    needed = {stage for stage, _ in ops}
    for edge in reversed(dockerfile.edges):
        if edge.target in needed and isinstance(edge.source, int):
            needed.add(edge.source)
    ends: dict[int, str | None] = {}
    for stage in (dockerfile.stages[index] for index in sorted(needed)):
        current = None if stage.base_stage is None else ends.get(stage.base_stage)
        for instruction in stage.instructions:
            at = (stage.index, instruction.index)
            if at not in ops and (instruction.keyword in STEP_KEYWORDS or stage.base_stage is None):
                equal = {
                    digest
                    for digest in above.get(current, ())
                    if any(_are_equal(dockerfile, at, other) for other in located[digest].instructions)
                    # The only line may be that of a COPY from the same image.
                    or (
                        not at[1]
                        and graph.image(digest) == normalize_image_name(stage.base).partition("@")[0]
                    )
                }
                if len(equal) == 1:
                    ops[at] = equal.pop()
                    found = {*located[ops[at]].instructions, at}
                    located[ops[at]] = replace(located[ops[at]], instructions=tuple(sorted(found)))
            current = ops.get(at, current)
        ends[stage.index] = current
    return located


def _are_equal(dockerfile: Dockerfile, one: _At, other: _At) -> bool:
    stages = dockerfile.stages[one[0]], dockerfile.stages[other[0]]
    if not one[1] and not other[1]:
        return (stages[0].base, stages[0].platform) == (stages[1].base, stages[1].platform)
    first, second = stages[0].instructions[one[1]], stages[1].instructions[other[1]]
    place = {"index": 0, "start_line": 0, "end_line": 0, "source": ""}
    return replace(first, **place) == replace(second, **place)


def _with_inputs(graph: LlbGraph, located: dict[str, OpLocation]) -> dict[str, OpLocation]:
    """Add the ops without a line, which BuildKit makes for the op that uses them, and the uses of images."""
    instructions: dict[str, set[_At]] = {}
    for digest in reversed(graph.ops()):
        used = sorted(instructions.get(digest, ()))
        if graph.kind(digest) != "source":
            located.setdefault(digest, OpLocation((), tuple(used)))
        elif not graph.name(digest).startswith("[internal]"):
            known = located.get(digest, OpLocation())
            found = _location(graph, digest, [*used, *known.part_of])
            located[digest] = OpLocation(known.instructions or found.instructions, found.part_of)
        if (location := located.get(digest)) is None:
            continue
        base = graph.parent(OpOutput(digest, graph.root_output(digest).index))
        for edge in graph.inputs(digest):
            for stage, instruction in location.instructions or location.part_of:
                at = (stage, 0) if edge == base else (stage, instruction)
                instructions.setdefault(edge.digest, set()).add(at)
    return {digest: location for digest, location in located.items() if location != OpLocation()}


@dataclass(frozen=True, slots=True)
class GraphLocations:
    """The locations of all ops of a graph.

    Attributes
    ----------
    digests
        The digests of all ops.
    locations
        The location of each op that belongs to an instruction, by its digest.
    """

    digests: frozenset[str]
    locations: Mapping[str, OpLocation]

    def fits(self, vertices: Collection[str]) -> bool:
        """Return whether the graph is the one of a build, which reports a vertex for each op.

        Parameters
        ----------
        vertices
            The digests of the vertices of the build.
        """
        found = (digest in vertices or _without_cache(digest) in vertices for digest in self.digests)
        return bool(self.digests) and all(found)

    def by_vertex(self) -> dict[str, OpLocation]:
        """Return the location of each vertex by its digest."""
        # A build without the cache beside one with the cache changes the digests.
        without_cache = {_without_cache(digest): one for digest, one in self.locations.items()}
        return without_cache | dict(self.locations)


def _without_cache(digest: str) -> str:
    return f"sha256:{hashlib.sha256(f'{digest}-ignorecache'.encode()).hexdigest()}"


def locate_graph(dockerfile: Dockerfile, graph: LlbGraph) -> GraphLocations:
    """Return the locations of the ops of a graph.

    Parameters
    ----------
    dockerfile
        The Dockerfile of the build.
    graph
        The graph that the engine's frontend made of it.
    """
    return GraphLocations(frozenset(graph.ops()), locate_ops(dockerfile, graph))


def request_graph(
    api: EngineApi, session: str, attributes: Mapping[str, str], cancel: Cancel
) -> LlbGraph | None:
    """Return the graph of a build, or None if the engine does not tell it.

    Parameters
    ----------
    api
        The client of docker-py whose engine to ask.
    session
        The id of the open session of the build.
    attributes
        The frontend's attributes.
    cancel
        Stops the request.
    """
    from stagelens.buildkit.gateway import Gateway  # a cached build does not need it

    stop = Cancel()
    cancel.on_request(stop)
    limit = threading.Timer(timeouts.current.build_graph, stop)
    limit.daemon = True
    limit.start()
    try:
        with Gateway(api, session, cancel=stop) as gateway:
            return gateway.dockerfile_graph(attributes)
    except BuildKitError:
        return None
    finally:
        limit.cancel()


class GraphCache:
    """The graphs of earlier builds: a build with the same Dockerfile and arguments need not ask the engine.

    Parameters
    ----------
    key
        All that the engine makes the graph from, apart from base images.
    """

    def __init__(self, key: object) -> None:
        self._name = hashlib.sha256(json.dumps([_VERSION, key], sort_keys=True).encode()).hexdigest()
        self._files: LruFileCache | None = None
        with contextlib.suppress(OSError):
            self._files = LruFileCache(cache_dir() / "graphs", ".json", _MAX_BYTES)

    def load(self, session: str) -> GraphLocations | None:
        """Return the stored graph with the digests of a session, or None.

        Parameters
        ----------
        session
            The id of the session.
        """
        data = self._files.load(self._name) if self._files else None
        if data is None:
            return None
        try:
            stored: dict[str, Any] = json.loads(data)
            ops = [base64.b64decode(raw) for raw in stored["ops"]]
            digests = replace_session(ops, stored["session"], session)
            locations = {
                digests[digest]: OpLocation(*(tuple((at[0], at[1]) for at in found) for found in one))
                for digest, one in stored["locations"].items()
            }
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return None  # the next graph replaces the damaged file
        return GraphLocations(frozenset(digests.values()), locations)

    def store(self, session: str, graph: LlbGraph, found: GraphLocations) -> None:
        """Store a graph.

        Parameters
        ----------
        session
            The id of the session that it is from.
        graph
            The graph.
        found
            The locations of its ops.
        """
        facts = {
            "session": session,
            "ops": [base64.b64encode(raw).decode() for raw in graph.ops().values()],
            "locations": {digest: [one.instructions, one.part_of] for digest, one in found.locations.items()},
        }
        if self._files:
            self._files.store(self._name, [json.dumps(facts).encode()])
