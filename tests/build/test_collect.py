"""BuildKit's status messages, as they may come, put together to the build's vertices."""

from __future__ import annotations

from stagelens.build.collect import Collector
from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse, Vertex
from stagelens.dockerfile import parse

DOCKERFILE = parse("FROM a AS one\nRUN first\nRUN second\nFROM b\nCOPY --from=one /x /x\n")
NAMES = (
    "[internal] load build context",
    "[one 1/3] FROM docker.io/library/a",
    "[one 2/3] RUN first",
    "[one 3/3] RUN second",
    "[stage-1 1/2] FROM docker.io/library/b",
    "[stage-1 2/2] COPY --from=one /x /x",
)


def test_vertices_stand_in_the_dockerfiles_order_however_they_were_told() -> None:
    collector = Collector(DOCKERFILE, str)
    for name in reversed(NAMES):
        collector.take(StatusResponse(vertexes=[Vertex(digest=name, name=name)]))
    assert tuple(vertex.name for vertex in collector.vertices()) == NAMES
