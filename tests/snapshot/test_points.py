"""Each point of a Dockerfile is found on the graph that BuildKit makes of it."""

from __future__ import annotations

from stagelens_testing.graphs import GraphMaker

from stagelens.buildkit.llb import LlbGraph, OpOutput
from stagelens.buildkit.proto.buildkit_pb2 import Definition
from stagelens.dockerfile import parse
from stagelens.snapshot.points import Point, listed_points, locate_points


def found(text: str, graphs: dict[int, LlbGraph]) -> tuple[dict[tuple[int, int], OpOutput], list[int]]:
    """The edge of each point, by its stage and instruction; and which stages' graphs were asked for."""
    dockerfile = parse(text)
    asked: list[int] = []

    def of_stage(index: int) -> LlbGraph:
        asked.append(index)
        return graphs[index]

    target = dockerfile.stages[-1].index
    places = locate_points(dockerfile, target, dockerfile.needed_stages(target), of_stage)
    listed = {
        point for point in listed_points(dockerfile, dockerfile.needed_stages(target)).values() if point
    }
    assert listed <= places.keys()
    return {(p.stage, p.instruction): places[p][1] for p in places}, asked


def test_a_stage_is_a_chain_and_what_makes_no_step_is_as_before() -> None:
    make = GraphMaker()
    base = make.image("a", "[build 1/2] FROM a")
    one = make.run(base, "one", "[build 2/2] RUN one")
    copied = make.copy(make.image("b", "[stage-1 1/3] FROM b"), one, "[stage-1 2/3] COPY --from=build x y /")
    end = make.run(copied, "two", "[stage-1 3/3] RUN two")
    text = "FROM a AS build\nENV X=1\nRUN one\nFROM b\nCOPY --from=build x y /\nWORKDIR /\nRUN two\nCMD z\n"
    edges, asked = found(text, {1: make.graph(end)})
    assert asked == [1]
    assert edges[0, 0] == base
    assert edges[0, 2] == one
    assert (edges[1, 1], edges[1, 2], edges[1, 3]) == (copied, copied, end)


def test_stages_that_begin_alike_share_ops_whose_names_are_of_one_alone() -> None:
    make = GraphMaker()
    base = make.image("a", "[x 1/2] FROM a")
    shared = make.run(base, "one", "[x 2/2] RUN one")
    first = make.copy(None, shared, "[stage-2 1/2] COPY --from=x f g /")
    end = make.copy(first, shared, "[stage-2 2/2] COPY --from=y f g /")
    text = (
        "FROM a AS x\nRUN one\nFROM a AS y\nRUN one\nFROM scratch\nCOPY --from=x f g /\nCOPY --from=y f g /\n"
    )
    edges, asked = found(text, {2: make.graph(end)})
    assert asked == [2], "what is copied tells where a stage ends"
    assert edges[0, 1] == edges[1, 1] == shared
    assert edges[1, 0] == base
    assert (edges[2, 1], edges[2, 2]) == (first, end)
    assert (2, 0) not in edges, "scratch has no files"


def test_a_stage_that_begins_with_another_one_goes_on_where_that_ends() -> None:
    make = GraphMaker()
    base = make.image("a", "[one 1/2] FROM a")
    one = make.run(base, "one", "[one 2/2] RUN one")
    end = make.run(one, "two", "[stage-1 1/1] RUN two")
    edges, _ = found("FROM a AS one\nRUN one\nFROM one\nRUN two\n", {1: make.graph(end)})
    assert (edges[1, 0], edges[1, 1]) == (one, end)


def test_files_of_triggers_belong_to_the_from_that_runs_them() -> None:
    make = GraphMaker()
    base = make.image("a", "[stage-0 1/4] FROM a")
    trigger = make.run(base, "trigger", "[stage-0 2/4] RUN trigger")
    one = make.run(trigger, "one", "[stage-0 3/4] RUN one")
    end = make.run(one, "two", "[stage-0 4/4] RUN two")
    edges, _ = found("FROM a AS stage-0\nRUN one\nRUN two\n", {0: make.graph(end)})
    assert (edges[0, 0], edges[0, 1], edges[0, 2]) == (trigger, one, end)


def test_files_of_triggers_at_the_end_of_a_stage_are_found() -> None:
    text = "FROM a AS x\nONBUILD RUN trigger\nFROM x AS y\nCMD z\n"
    make = GraphMaker(text)
    base = make.image("a", "[x 1/1] FROM a", range(1, 2))
    end = make.run(base, "trigger", "[y 1/1] RUN trigger", range(1, 2))
    edges, _ = found(text, {1: make.graph(end)})
    assert (edges[0, 0], edges[1, 0]) == (base, end)


def test_stages_with_equal_steps_are_found_by_their_lines() -> None:
    text = "FROM a AS x\nRUN one\nFROM a AS y\nRUN one\nFROM x\nRUN --mount=from=y true\n"
    make = GraphMaker(text)
    base = make.image("a", "[x 1/2] FROM a", range(1, 2), range(3, 4))
    shared = make.run(base, "one", "[x 2/2] RUN one", range(2, 3), range(4, 5))
    end = make.run(shared, "two", "[stage-2 1/1] RUN --mount=from=y true", range(6, 7))
    edges, asked = found(text, {2: make.graph(end)})
    assert asked == [2]
    assert edges[0, 1] == edges[1, 1] == shared


def test_a_linked_copy_is_the_merge_that_puts_it_on_the_step_before() -> None:
    make = GraphMaker()
    base = make.image("a", "[x 1/2] FROM a")
    alone = make.copy(None, base, "[stage-1 1/2] COPY --link --from=x f g /")
    merged = make.merge(
        make.image("b", "[stage-1 1/3] FROM b"), alone, "[stage-1 2/3] LINK COPY --link --from=x f g /"
    )
    end = make.run(merged, "one", "[stage-1 3/3] RUN one")
    edges, _ = found(
        "FROM a AS x\nFROM b\nCOPY --link --from=x f g /\nRUN one\n",
        {0: make.graph(base), 1: make.graph(end)},
    )
    assert (edges[1, 1], edges[1, 2]) == (merged, end)
    copies = make.graph(end).copy_paths
    assert copies(merged.digest) == copies(alone.digest) == (("/x", "/y"), "/app/")
    assert copies(end.digest) is None


def test_mounted_stage_with_another_stages_names_is_found_by_its_equal_steps() -> None:
    make = GraphMaker()
    base = make.image("a", "[x 1/2] FROM a")
    shared = make.run(base, "one", "[x 2/2] RUN one")
    end = make.run(shared, "two", "[stage-2 1/1] RUN --mount=from=y true")
    text = "FROM a AS x\nRUN one\nFROM a AS y\nRUN one\nFROM x\nRUN --mount=from=y true\n"
    edges, asked = found(text, {2: make.graph(end)})
    assert asked == [2]
    assert edges[1, 1] == shared


def test_a_stage_without_steps_is_asked_for_itself_where_what_it_begins_with_has_some() -> None:
    make = GraphMaker()
    copied = make.copy(None, make.image("a", "[internal] load build context"), "[x 1/1] COPY f /")
    end = make.run(copied, "two", "[stage-2 1/1] RUN --mount=from=y true")
    text = "FROM scratch AS x\nCOPY f /\nFROM x AS y\nFROM x\nRUN --mount=from=y true\n"
    edges, asked = found(text, {1: make.graph(copied), 2: make.graph(end)})
    assert asked == [2, 1]
    assert edges[1, 0] == copied


def test_a_cut_holds_what_its_end_needs_with_the_names_and_no_more() -> None:
    make = GraphMaker()
    base = make.image("a", "[x 1/2] FROM a")
    one = make.run(base, "one", "[x 2/2] RUN one")
    end = make.run(one, "two", "[stage-1 1/1] RUN two")
    cut = LlbGraph(make.graph(end).definition_of(one))
    assert dict(cut.named_ops()) == {base.digest: "[x 1/2] FROM a", one.digest: "[x 2/2] RUN one"}
    assert cut.result == one
    assert cut.parent(one) == base
    assert cut.parent(base) is None
    assert LlbGraph(Definition()).result is None


def test_a_chain_of_stages_may_be_longer_than_python_calls_in_one_another() -> None:
    count = 1100
    chain = "".join(f"FROM s{number} AS s{number + 1}\n" for number in range(count))
    make = GraphMaker()
    end = make.copy(None, make.image("a", "[internal] load build context"), "[last 1/1] COPY x /")
    text = f"FROM scratch AS s0\n{chain}FROM s{count} AS last\nCOPY x /\n"
    edges, asked = found(text, {count + 1: make.graph(end)})
    assert asked == [count + 1], "no stage before has any files"
    assert edges == {(count + 1, 1): end}
    dockerfile = parse(text.replace("scratch", "a"))
    assert set(listed_points(dockerfile, range(count)).values()) == {Point(0, 0)}


def test_files_of_triggers_are_those_of_the_from_that_fires_them() -> None:
    make = GraphMaker()
    base = make.image("a", "[kit 1/2] FROM a")
    kit = make.run(base, "kit", "[kit 2/2] RUN kit")
    fired = make.run(kit, "fired", "[build 1/2] RUN fired")
    end = make.run(fired, "end", "[build 2/2] RUN end")
    text = "FROM a AS kit\nONBUILD RUN fired\nONBUILD ENV A=1\nRUN kit\nFROM kit AS build\nRUN end\n"
    edges, _ = found(text, {1: make.graph(end)})
    assert (edges[0, 3], edges[1, 0], edges[1, 1]) == (kit, fired, end)
    edges, _ = found(text.removesuffix("RUN end\n"), {1: make.graph(fired)})
    assert edges[1, 0] == fired


def test_from_of_a_stage_is_listed_as_its_end_unless_triggers_run() -> None:
    dockerfile = parse("FROM a AS x\nRUN x\nFROM x AS y\nONBUILD RUN y\nFROM y\nFROM scratch\n")
    listed = listed_points(dockerfile, [0, 1, 2, 3])
    assert listed[Point(0, 0)] == Point(0, 0)
    assert listed[Point(1, 0)] == Point(0, 1)
    assert listed[Point(2, 0)] == Point(2, 0), "the trigger may add files"
    assert listed[Point(3, 0)] is None


def test_trigger_that_two_stages_share_belongs_to_both() -> None:
    text = "FROM a AS kit\nONBUILD RUN kit\nFROM kit AS one\nRUN one\nFROM kit AS two\nCOPY --from=one x /\n"
    make = GraphMaker(text)
    base = make.image("a", "[kit 1/1] FROM a", range(1, 2))
    shared = make.run(base, "kit", "[two 1/2] RUN kit", range(5, 6))
    one = make.run(shared, "one", "[one 2/1] RUN one", range(4, 5))
    end = make.copy(shared, one, "[two 2/2] COPY --from=one x /", range(6, 7))
    edges, _ = found(text, {2: make.graph(end)})
    assert (edges[1, 0], edges[1, 1], edges[2, 0], edges[2, 1]) == (shared, one, shared, end)
