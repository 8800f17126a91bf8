"""JSON values of a build for the views: stages, steps with states and times, and edges between stages."""

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

# The largest number of characters of log lines in one message.
MAX_LOG = 1 << 20
_TEXT = 100


def outline(dockerfile: Dockerfile, target: str | None) -> dict[str, Any]:
    """Return the parts of a build that do not change while it runs.

    Parameters
    ----------
    dockerfile
        The Dockerfile.
    target
        The target stage; None for the last one.

    Returns
    -------
    dict
        The stages with their instructions, the edges between stages, and the index of the target.
    """
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
    """Return an edge with a label; None for FROM of an image, which the stage itself shows."""
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
    """Return the state of each vertex.

    Parameters
    ----------
    vertices
        The vertices.
    now
        The current time, or the time of the build's end.
    begun
        The time of the build's start; times in the result are in seconds since then.
    over
        Whether the build has stopped.
    """
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
    """Return the state of a vertex: waiting, running, cached, done or failed; stopped if another one failed.

    Parameters
    ----------
    vertex
        The vertex.
    """
    if vertex.error:
        return "stopped" if "context canceled" in vertex.error else "failed"
    if vertex.cached:
        return "cached"
    if vertex.completed is not None:
        return "done"
    return "running" if vertex.started is not None else "waiting"


def totals(vertices: Sequence[Vertex], over: bool = False) -> dict[str, Any]:
    """Count the Dockerfile's steps by state, and add up the seconds of their work.

    A FROM that looks up an image does not count unless it failed: engines report that it ran even if all
    other steps were cached.

    Parameters
    ----------
    vertices
        The vertices.
    over
        Whether the build has stopped, so that no step waits or runs.
    """
    steps = [vertex for vertex in vertices if vertex.instruction is not None]
    found = [state(vertex) for vertex in steps if not vertex.is_lookup or vertex.error]
    counts = {name: found.count(name) for name in ("waiting", "running", "cached", "done", "failed")}
    if over:
        counts |= {"waiting": 0, "running": 0}
    return counts | {"steps": len(found), "work": round(work_seconds(steps), 2)}


def log(lines: Sequence[LogLine], start: int) -> dict[str, Any]:
    """Return log lines for one message, at most `MAX_LOG` characters.

    Parameters
    ----------
    lines
        All lines of the log.
    start
        The index of the first line to return.

    Returns
    -------
    dict
        The start, the lines as [stream, text, colored parts], and the number of all lines.
    """
    found: list[list[Any]] = []
    remaining = MAX_LOG
    for line in lines[start:]:
        found.append([line.stream, line.text, [list(span) for span in line.colors]])
        remaining -= len(line.text) + 40
        if remaining < 0:
            break
    return {"start": start, "lines": found, "total": len(lines)}
