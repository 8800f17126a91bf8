"""The chain of steps that a build waited for."""

from __future__ import annotations

from stagelens.builds import Vertex, critical_path, work_seconds


def step(name: str, inputs: tuple[str, ...], start: float | None, end: float | None) -> Vertex:
    return Vertex(name, name, inputs, started=start, completed=end, stage=0, instruction=1)


def test_critical_path_follows_the_inputs_that_end_last() -> None:
    steps = [
        Vertex("context", "[internal] load build context", started=0, completed=2),
        step("quick", ("context",), 2, 3),
        step("slow", (), 0, 7),
        step("last", ("quick", "slow"), 7, 8),
        Vertex("export", "exporting to image", started=8, completed=9),
    ]
    assert critical_path(steps) == ("slow", "last")
    assert work_seconds(steps) == 12


def test_unfinished_step_is_on_no_path() -> None:
    assert critical_path([step("runs", (), 0, None)]) == ()
    assert critical_path([]) == ()


def test_cyclic_graph_ends() -> None:
    assert set(critical_path([step("a", ("b",), 0, 1), step("b", ("a",), 0, 1)])) == {"a", "b"}
