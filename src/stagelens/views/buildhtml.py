"""The static twin of a build: a card a stage, each step with its state, its time as a bar, and its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stagelens.builds import Vertex
from stagelens.views import markup

if TYPE_CHECKING:
    from stagelens.views.build import BuildView

_LOG_LINES = 40
_CLASSES = {"cached": "sl-cached", "done": "sl-added", "failed": "sl-removed", "running": "sl-changed"}


def page(view: BuildView) -> str:
    """The whole picture."""
    logs = {vertex.digest[-16:]: vertex for vertex in view.vertices.values()}
    stages: list[dict[str, Any]] = view.outline.get("stages", [])
    known = {(row["stage"], row["instruction"]): row for row in view.steps if row["instruction"] is not None}
    cards = [_stage(view, index, stage, known, logs) for index, stage in enumerate(stages) if stage["needed"]]
    if not stages:
        rows = [_row(view, None, row["name"], row, logs) for row in known.values()]
        cards = [f'<div class="sl-card">{markup.table(_heads(view), rows)}</div>']
    return markup.frame(_head(view) + "".join(cards), view.twin, language=view.language)


def _head(view: BuildView) -> str:
    words = {
        "waiting": view.say("No build yet"),
        "running": view.say("Building"),
        "cancelling": view.say("Stopping"),
        "cancelled": view.say("Cancelled"),
        "failed": view.say("Failed"),
        "done": view.say("Built"),
    }
    seconds = f"{view.totals.get('seconds', 0):.1f} s"
    told = "".join(f"<div>{markup.html_text(line, 4000)}</div>" for line in view.problem.values())
    problem = f'<div class="sl-table sl-removed" style="padding:8px 12px">{told}</div>' if told else ""
    head = markup.heading(f"{words[view.phase]} · {seconds}", str(view))
    return f'<div class="sl-card">{head}{problem}{_flows(view)}</div>'


def _flows(view: BuildView) -> str:
    stages = view.outline.get("stages", [])
    lines: list[str] = []
    for edge in view.outline.get("edges", []):
        source, target = edge["source"], stages[edge["target"]]["label"]
        label = stages[source]["label"] if isinstance(source, int) else source
        label, target = markup.html_text(label), markup.html_text(target)
        lines.append(f"<div>{label} → {target}: <code>{markup.html_text(edge['label'])}</code></div>")
    return f'<div style="padding:6px 12px">{"".join(lines)}</div>' if lines else ""


def _heads(view: BuildView) -> tuple[str, ...]:
    return view.say("line"), view.say("step"), view.say("state"), view.say("time"), ""


def _stage(
    view: BuildView,
    index: int,
    stage: dict[str, Any],
    known: dict[tuple[int, int], dict[str, Any]],
    logs: dict[str, Vertex],
) -> str:
    rows = [
        _row(view, step["line"], step["text"], known.get((index, number)), logs)
        for number, step in enumerate(stage["steps"])
    ]
    head = markup.heading(stage["label"], stage["base"], stage=index)
    return f'<div class="sl-card">{head}{markup.table(_heads(view), rows)}</div>'


def _row(
    view: BuildView, line: int | None, title: str, row: dict[str, Any] | None, logs: dict[str, Vertex]
) -> tuple[str, ...]:
    number = "" if line is None else f'<span class="sl-soft">{line}</span>'
    step = f"<code>{markup.html_text(title)}</code>"
    if row is None:
        return number, step, "", "", ""
    word = state_word(view, row["state"])
    badge = f'<span class="sl-badge {_CLASSES.get(row["state"], "sl-soft")}">{word}</span>'
    ran = row["seconds"] is not None and row["state"] != "cached"
    time = f"{row['seconds']:.1f} s" if ran else ""
    return number, step + _log(view, logs.get(row["id"])), badge, time, _bar(view, row) if ran else ""


def state_word(view: BuildView, state: str) -> str:
    """A step's state in the view's language."""
    return {
        "waiting": view.say("waiting"),
        "running": view.say("running"),
        "cached": view.say("cached"),
        "done": view.say("done"),
        "failed": view.say("failed"),
        "stopped": view.say("stopped"),
    }[state]


def _bar(view: BuildView, row: dict[str, Any]) -> str:
    whole = max(view.totals.get("seconds", 0.0), 0.001)
    left = min(99.0, 100 * row["start"] / whole)
    width = max(1.0, min(100 - left, 100 * row["seconds"] / whole))
    weight = "1" if row["critical"] else "0.5"
    return (
        '<div style="width:160px;height:10px;margin-top:4px">'
        f'<div style="margin-left:{left:.1f}%;width:{width:.1f}%;height:100%;border-radius:3px;'
        f'background:var(--sl-accent);opacity:{weight}"></div></div>'
    )


def _log(view: BuildView, vertex: Vertex | None) -> str:
    if vertex is None or not vertex.logs:
        return ""
    lines = [markup.html_text(line.text) for line in vertex.logs[-_LOG_LINES:]]
    opened = " open" if vertex.error or len(vertex.logs) <= 3 else ""
    title = view.count("{n} line of output", "{n} lines of output", len(vertex.logs))
    body = "<br>".join(lines)
    return f'<details{opened}><summary class="sl-soft">{title}</summary><code>{body}</code></details>'
