"""BuildKit's status messages, as they may come, put together to the build's vertices."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse, Vertex, VertexLog
from stagelens.builds.status_collector import StatusCollector
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
FIRST, SECOND = NAMES[2:4]


def at(seconds: int) -> Timestamp:
    return Timestamp(seconds=seconds)


def test_vertices_are_in_the_order_of_the_dockerfile() -> None:
    collector = StatusCollector(DOCKERFILE, str)
    for name in reversed(NAMES):
        collector.add(StatusResponse(vertexes=[Vertex(digest=name, name=name)]))
    assert tuple(vertex.name for vertex in collector.vertices()) == NAMES


def test_further_attempt_keeps_vertices_although_their_digests_change() -> None:
    """Digests hold the session's number where a step takes files of the context."""
    collector = StatusCollector(DOCKERFILE, str)
    first = Vertex(digest="f1", name=FIRST, started=at(10), completed=at(12))
    second = Vertex(digest="s1", name=SECOND, inputs=["f1"], started=at(12), completed=at(13), error="busy")
    logs = [VertexLog(vertex="f1", timestamp=at(11), msg=b"one\n"), VertexLog(vertex="s1", msg=b"half")]
    collector.add(StatusResponse(vertexes=[first, second], logs=logs))
    assert [(v.digest, v.started, v.completed, v.error, v.logs) for v in collector.start_attempt()] == [
        ("s1", None, None, "", ())
    ]
    first = Vertex(digest="f2", name=FIRST, started=at(20), completed=at(20), cached=True)
    second = Vertex(digest="s2", name=SECOND, inputs=["f2"], started=at(21), completed=at(22))
    collector.add(StatusResponse(vertexes=[second], logs=[VertexLog(vertex="s2", msg=b"whole\n")]))
    collector.add(StatusResponse(vertexes=[first, second]))
    told = {v.digest: v for v in collector.vertices()}
    assert told.keys() == {"f1", "s1"}
    assert (told["f1"].cached, told["f1"].started, told["f1"].completed) == (False, 10.0, 12.0)
    assert (told["s1"].started, told["s1"].completed, told["s1"].inputs) == (21.0, 22.0, ("f1",))
    assert [line.text for v in told.values() for line in v.logs] == ["one", "whole"]


def test_step_without_inputs_is_cached_if_the_steps_above_it_are() -> None:
    """BuildKit reports it as started when it only computes the cache key."""
    dockerfile = parse("FROM scratch AS a\nWORKDIR /w\nFROM a AS b\nARG X\nFROM b AS c\nCOPY f .\n")

    def outcomes(copy_cached: bool) -> list[bool]:
        collector = StatusCollector(dockerfile, str)
        workdir = Vertex(digest="w", name="[a 1/1] WORKDIR /w", started=at(1), completed=at(1))
        copy = Vertex(digest="c", name="[c 1/1] COPY f .", inputs=["w"], cached=copy_cached, started=at(2))
        collector.add(StatusResponse(vertexes=[workdir, copy]))
        return [vertex.cached for vertex in collector.vertices()]

    assert outcomes(copy_cached=True) == [True, True]
    assert outcomes(copy_cached=False) == [False, False]
