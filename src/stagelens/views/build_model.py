"""A build as the views show it: stages with steps, their states and times, and what flows between stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stagelens import text
from stagelens.builds import LogLine, Vertex, critical_path, work_seconds
from stagelens.dockerfile import (
    Dockerfile,
    Instruction,
    Stage,
    StageEdge,
    split_whitespace,
    step_instructions,
)
from stagelens.humanize import instruction_title

# An answer with log lines ends after as many characters.
MAX_LOG = 1 << 20
_TEXT = 100


def outline(dockerfile: Dockerfile, target: str | None) -> dict[str, Any]:
    """Stages with their instructions, and the edges between them; JSON, nothing of it changes in a build."""
    needed = dockerfile.needed_stages(target)
    return {
        "stages": [_stage(dockerfile, stage, stage.index in needed) for stage in dockerfile.stages],
        "edges": [edge for edge in (_edge(dockerfile, found) for found in dockerfile.edges) if edge],
        "target": dockerfile.stage(target).index if target is not None else dockerfile.stages[-1].index,
    }


def _stage(dockerfile: Dockerfile, stage: Stage, needed: bool) -> dict[str, Any]:
    runs = {instruction.index for instruction in step_instructions(dockerfile, stage)}
    return {
        "label": text.inline(stage.label, 60),
        "base": text.inline(stage.base, 80),
        "needed": needed,
        "steps": [_instruction(each, each.index in runs) for each in stage.instructions],
    }


def _instruction(instruction: Instruction, runs: bool) -> dict[str, Any]:
    return {
        "line": instruction.start_line,
        "text": text.inline(instruction_title(instruction, _TEXT)),
        "runs": runs,
    }


def _edge(dockerfile: Dockerfile, edge: StageEdge) -> dict[str, Any] | None:
    """Return what flows along an edge; a FROM of an image is said by the stage itself."""
    if not isinstance(edge.source, int) and edge.kind == "from":
        return None
    instruction = dockerfile.stages[edge.target].instructions[edge.instruction]
    if edge.kind in ("copy", "add"):
        sources = [*(instruction.words or split_whitespace(instruction.arguments))][:-1]
        label = " ".join(sources)
    else:
        label = "FROM" if edge.kind == "from" else "RUN --mount"
    source = edge.source if isinstance(edge.source, int) else text.inline(edge.source, 60)
    return {"source": source, "target": edge.target, "kind": edge.kind, "label": text.inline(label, 60)}


def steps(vertices: Sequence[Vertex], now: float, begun: float, over: bool = False) -> list[dict[str, Any]]:
    """One small row for each vertex; times are in seconds after `begun`; `over`: nothing runs any more."""
    ended = all(vertex.completed is not None or vertex.error for vertex in vertices)
    critical = set(critical_path(vertices)) if ended else set[str]()
    return [_step(vertex, now, begun, vertex.digest in critical, over) for vertex in vertices]


def _step(vertex: Vertex, now: float, begun: float, critical: bool, over: bool) -> dict[str, Any]:
    start = None if vertex.started is None else max(0.0, vertex.started - begun)
    end = vertex.completed if vertex.completed is not None else now
    found = state(vertex)
    return {
        "id": vertex.digest[-16:],
        "name": text.inline(vertex.name, _TEXT),
        "stage": vertex.stage,
        "instruction": vertex.instruction,
        "state": "stopped" if over and found in ("running", "waiting") else found,
        "start": start,
        "seconds": None if vertex.started is None else round(max(0.0, end - vertex.started), 3),
        "lines": len(vertex.logs),
        "critical": critical and not vertex.cached,
    }


def state(vertex: Vertex) -> str:
    """Return a step's state: waiting, running, cached, done or failed; stopped if another step failed."""
    if vertex.error:
        return "stopped" if "context canceled" in vertex.error else "failed"
    if vertex.cached:
        return "cached"
    if vertex.completed is not None:
        return "done"
    return "running" if vertex.started is not None else "waiting"


def totals(vertices: Sequence[Vertex], over: bool = False) -> dict[str, Any]:
    """Return counts of the Dockerfile's steps by state, and the seconds that they ran, added up.

    A FROM that only looks its image up is not counted: engines say that it ran where all else was cached.
    One that has failed is. `over`: nothing runs or waits any more.
    """
    own = [vertex for vertex in vertices if vertex.instruction is not None]
    found = [state(vertex) for vertex in own if not vertex.is_lookup or vertex.error]
    counts = {name: found.count(name) for name in ("waiting", "running", "cached", "done", "failed")}
    if over:
        counts |= {"waiting": 0, "running": 0}
    return counts | {"steps": len(found), "work": round(work_seconds(own), 2)}


def log(lines: Sequence[LogLine], start: int) -> dict[str, Any]:
    """Lines from `start` on, as many as one answer takes: [stream, text, coloured parts]."""
    found: list[list[Any]] = []
    room = MAX_LOG
    for line in lines[start:]:
        found.append([line.stream, line.text, [list(span) for span in line.colors]])
        room -= len(line.text) + 40
        if room < 0:
            break
    return {"start": start, "lines": found, "total": len(lines)}
