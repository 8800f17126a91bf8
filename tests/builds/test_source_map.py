"""The instructions of a build's ops, by the lines in BuildKit's graph."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from stagelens_testing.graphs import GraphMaker

from stagelens.buildkit.llb import LlbGraph, OpOutput
from stagelens.buildkit.proto.buildkit_pb2 import StatusResponse, Vertex
from stagelens.builds.source_map import GraphCache, OpLocation, locate_graph, locate_ops
from stagelens.builds.status_collector import StatusCollector
from stagelens.dockerfile import parse


def line(number: int) -> range:
    return range(number, number + 1)


def lines_of(text: str, graph: LlbGraph, op: OpOutput) -> tuple[list[int], list[int]]:
    """Return the lines of the instructions whose step an op is, and of those that it is a part of."""
    dockerfile = parse(text)
    found = locate_ops(dockerfile, graph).get(op.digest, OpLocation())

    def lines(at: tuple[tuple[int, int], ...]) -> list[int]:
        return [dockerfile.stages[stage].instructions[index].start_line for stage, index in at]

    return lines(found.instructions), lines(found.part_of)


def test_lines_decide_whatever_the_names_are() -> None:
    text = "FROM a\nRUN one\nRUN one\n"
    make = GraphMaker(text)
    base = make.image("a", "[x 1/7] FROM b", line(1))
    one = make.run(base, "one", "[2/3] RUN one", line(2))
    two = make.run(one, "two", "[other  2/13] RUN one", line(3))
    graph = make.graph(two)
    assert [lines_of(text, graph, op) for op in (base, one, two)] == [([1], []), ([2], []), ([3], [])]


def test_equal_steps_of_two_stages_are_one_op_with_two_lines() -> None:
    text = "FROM a AS x\nRUN one\nFROM a AS y\nRUN one\nFROM y\nCOPY --from=x f g /\n"
    make = GraphMaker(text)
    base = make.image("a", "[x 1/2] FROM a", line(1), line(3))
    one = make.run(base, "one", "[x 2/2] RUN one", line(4), line(2))
    end = make.copy(one, one, "[stage-2 1/1] COPY --from=x f g /", line(6))
    graph = make.graph(end)
    assert lines_of(text, graph, base) == ([1, 3], [])
    assert lines_of(text, graph, one) == ([2, 4], [])


def test_equal_steps_are_told_where_the_lines_are_of_one_stage_alone() -> None:
    """So it is in BuildKit 0.8 (Engine 20.10)."""
    text = "FROM a AS unused\nFROM a AS x\nRUN one\nENV A=1\nRUN two\nFROM a AS y\nRUN one\nRUN two\n"
    text += "FROM y\nWORKDIR /\nCOPY --from=x f g /\nRUN one\n"
    make = GraphMaker(text)
    base = make.image("a", "[y 1/3] FROM a", line(6))
    one = make.run(base, "one", "[y 2/3] RUN one", line(7))
    with_a = make.run(one, "A=1", "[x 3/3] RUN two", line(5))
    two = make.run(one, "two", "[y 3/3] RUN two", line(8))
    copied = make.copy(two, with_a, "[stage-3 2/3] COPY --from=x f g /", line(11))
    end = make.run(copied, "end", "[stage-3 3/3] RUN one", line(12))
    graph = make.graph(end)
    found = [lines_of(text, graph, op)[0] for op in (base, one, with_a, two, copied, end)]
    assert found == [[2, 6], [3, 7], [5], [8], [11], [12]]


def test_image_with_the_line_of_a_copy_alone_is_also_the_base_of_stages() -> None:
    text = "FROM a AS x\nRUN one\nFROM a\nRUN one\nCOPY --from=x f g /\nCOPY --from=a f h /\n"
    make = GraphMaker(text)
    base = make.image("docker.io/library/a:latest@sha256:12", "FROM a", line(6))
    one = make.run(base, "one", "[x 2/2] RUN one", line(4))
    copied = make.copy(one, one, "[stage-1 3/4] COPY --from=x f g /", line(5))
    end = make.copy(copied, base, "[stage-1 4/4] COPY --from=a f h /", line(6))
    graph = make.graph(end)
    assert lines_of(text, graph, base) == ([1, 3], [6])
    assert lines_of(text, graph, one) == ([2, 4], [])


def test_stage_whose_steps_all_have_the_lines_of_another_stage_is_told() -> None:
    text = "FROM a AS x\nRUN one\nFROM a AS y\nRUN one\nFROM x\nRUN --mount=from=y two\n"
    make = GraphMaker(text)
    base = make.image("a", "[x 1/2] FROM a", line(1))
    one = make.run(base, "one", "[x 2/2] RUN one", line(2))
    end = make.run(one, "/", "[stage-2 1/1] RUN --mount=from=y two", line(6), mounted=one)
    graph = make.graph(end)
    assert [lines_of(text, graph, op)[0] for op in (base, one, end)] == [[1, 3], [2, 4], [6]]


def test_linked_copy_is_the_copy_and_the_merge_is_part_of_it() -> None:
    text = "FROM a\nCOPY --link f g /\n"
    make = GraphMaker(text)
    context = make.source("local://context", "[internal] load build context")
    copied = make.copy(None, context, "[2/2] COPY --link f g /", line(2))
    end = make.merge(make.image("a", "[1/2] FROM a", line(1)), copied, "[2/2] LINK COPY f g /", line(2))
    graph = make.graph(end)
    assert lines_of(text, graph, copied) == ([2], [])
    assert lines_of(text, graph, end) == ([], [2])
    assert lines_of(text, graph, context) == ([], [])


def test_download_image_and_inline_file_are_parts_of_the_instruction_that_uses_them() -> None:
    text = "FROM a\nADD https://x/y /\nRUN <<E\n#!/bin/x\nE\nCOPY --from=b f g /\n"
    make = GraphMaker(text)
    base = make.image("a", "[1/4] FROM a", line(1))
    download = make.source("https://x/y", "https://x/y")
    added = make.copy(base, download, "[2/4] ADD https://x/y /", line(2))
    script = make.inline("E", b"#!/bin/x\n")
    run = make.run(added, "/dev/pipes/", "[3/4] RUN <<E (#!/bin/x)", range(3, 6), mounted=script)
    image = make.image("b", "FROM docker.io/library/b", line(6))
    end = make.copy(run, image, "[4/4] COPY --from=b f g /", line(6))
    graph = make.graph(end)
    assert lines_of(text, graph, download) == ([], [2])
    assert lines_of(text, graph, added) == ([2], [])
    assert lines_of(text, graph, script) == ([], [3])
    assert lines_of(text, graph, run) == ([3], [])
    assert lines_of(text, graph, image) == ([], [6])
    assert lines_of(text, graph, end) == ([6], [])


@pytest.mark.parametrize(("name", "number"), [("[y 1/2] RUN trigger", 1), ("[y 1/2] ONBUILD RUN trigger", 4)])
def test_triggers_belong_to_the_from_that_runs_them(name: str, number: int) -> None:
    """Older BuildKits give the line in the text of the ONBUILD instruction."""
    text = "FROM a AS x\nONBUILD RUN trigger\nONBUILD RUN other\nFROM x AS y\nRUN one\n"
    make = GraphMaker(text)
    base = make.image("a", "[x 1/1] FROM a", line(1))
    trigger = make.run(base, "trigger", name, line(number))
    end = make.run(trigger, "one", "[y 2/2] RUN one", line(5))
    graph = make.graph(end)
    assert lines_of(text, graph, base) == ([1], [])
    assert lines_of(text, graph, trigger) == ([4], [])
    assert lines_of(text, graph, end) == ([5], [])


def test_image_without_a_line_belongs_to_the_from_of_the_stage_on_it() -> None:
    text = "FROM named\nRUN one\n"
    make = GraphMaker(text)
    base = make.image("b", "[context named] docker.io/library/b")
    end = make.run(base, "one", "[2/2] RUN one", line(2))
    assert lines_of(text, make.graph(end), base) == ([1], [])


def test_lines_of_another_file_are_left_out() -> None:
    text = "FROM a\nRUN one\n"
    make = GraphMaker("FROM a\n\nRUN generated\n")
    base = make.image("a", "[1/2] FROM a", line(1))
    end = make.run(base, "one", "[2/2] RUN one", line(3))
    graph = make.graph(end)
    assert [lines_of(text, graph, op) for op in (base, end)] == [([1], []), ([2], [])], "by their names"


def test_carriage_returns_and_a_byte_order_mark_do_not_matter() -> None:
    text = "\ufeffFROM a\r\nRUN one\r\n"
    make = GraphMaker(text)
    base = make.image("a", "x", line(1))
    assert lines_of(text, make.graph(make.run(base, "one", "y", line(2))), base) == ([1], [])


CONTEXT = "FROM a AS x\nCOPY f g /\nFROM a AS y\nCOPY f g /\n"


def session_graph(session: str) -> tuple[LlbGraph, OpOutput]:
    make = GraphMaker(CONTEXT)
    base = make.image("a", "[x 1/2] FROM a", line(1), line(3))
    context = make.source(f"local://context?{session}", "[internal] load build context")
    end = make.copy(base, context, "[x 2/2] COPY f g /", line(2), line(4))
    return make.graph(end), end


def test_stored_graph_has_the_digests_of_another_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELENS_HOME", str(tmp_path))
    dockerfile = parse(CONTEXT)
    (one, first), (two, second) = session_graph("1" * 32), session_graph("2" * 32)
    assert first != second
    cache = GraphCache("key")
    assert cache.load("1" * 32) is None
    cache.store("1" * 32, one, locate_graph(dockerfile, one))
    assert GraphCache("key").load("2" * 32) == locate_graph(dockerfile, two)
    assert GraphCache("another").load("2" * 32) is None
    (stored,) = (tmp_path / "cache" / "graphs").iterdir()
    assert stored.stat().st_mode & 0o077 == 0, "it holds build arguments"
    stored.write_text('{"ops": [], "session": 1}')
    assert cache.load("1" * 32) is None


def test_graph_fits_a_build_that_reports_each_of_its_ops() -> None:
    graph, end = session_graph("1" * 32)
    found = locate_graph(parse(CONTEXT), graph)
    digests = set(graph.ops())
    assert found.fits(digests | {"sha256:internal"})
    assert not found.fits(digests - {end.digest})
    uncached = f"sha256:{hashlib.sha256(f'{end.digest}-ignorecache'.encode()).hexdigest()}"
    assert found.fits(digests - {end.digest} | {uncached}), "beside a build with the cache"
    assert found.by_vertex()[uncached] == found.by_vertex()[end.digest]


def test_vertices_move_to_the_instructions_of_their_digests() -> None:
    dockerfile = parse("FROM a AS x\nRUN same\nRUN same\nFROM a AS y\nRUN same\n")
    collector = StatusCollector(dockerfile, str)
    name = "[elsewhere 2/9] RUN same"
    collector.add(StatusResponse(vertexes=[Vertex(digest="d", name=name), Vertex(digest="e", name="E")]))
    assert [vertex.instruction for vertex in collector.vertices()] == [None, 1]
    moved = collector.locate({"d": OpLocation(((0, 2), (1, 1))), "e": OpLocation((), ((0, 2),))})
    assert {vertex.digest for vertex in moved} == {"d", "e"}
    part, vertex = sorted(collector.vertices(), key=lambda one: one.digest, reverse=True)
    assert (vertex.instructions, vertex.part_of) == (((0, 2), (1, 1)), ())
    assert (part.instructions, part.part_of) == ((), ((0, 2),))
    assert collector.locate({"d": OpLocation(((0, 2), (1, 1))), "e": OpLocation((), ((0, 2),))}) == []


def test_name_decides_which_of_the_instructions_of_a_vertex_comes_first() -> None:
    collector = StatusCollector(parse("FROM a AS x\nRUN same\nFROM a AS y\nRUN same\n"), str)
    collector.add(StatusResponse(vertexes=[Vertex(digest="d", name="[y 2/2] RUN same")]))
    collector.locate({"d": OpLocation(((0, 1), (1, 1)))})
    (vertex,) = collector.vertices()
    assert (vertex.stage, vertex.instruction, vertex.others) == (1, 1, ((0, 1),))
