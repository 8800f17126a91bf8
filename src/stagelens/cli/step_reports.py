"""Print the reports on the steps of a build in a terminal, or as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape

from stagelens.cache import StepReport
from stagelens.cli.console import out
from stagelens.text import inline

_COLORS = {
    "CACHED": "green",
    "ran": "yellow",
    "runs": "yellow",
    "depends": "cyan",
    "not reached": "dim",
    "not known": "dim",
}


def print_steps(steps: Iterable[StepReport], console: Console = out) -> None:
    """Print a line for each step, and the reason below."""
    for step in steps:
        state = state_of(step)
        mark = f"[{_COLORS[state]}]{state:>11}[/]"
        console.print(
            f"{mark}  {_escaped(f'{step.label}, line {step.line}')}  {_escaped(step.title)}", soft_wrap=True
        )
        console.print(f"{'':>13}[dim]{_escaped(step.why)}[/dim]", soft_wrap=True)


def state_of(step: StepReport) -> str:
    """Return the outcome in the notation of the docker command."""
    return "CACHED" if step.outcome == "cached" else step.outcome


def as_json(steps: Iterable[StepReport]) -> list[dict[str, Any]]:
    """Return the reports as JSON objects."""
    return [
        {
            "stage": step.label,
            "line": step.line,
            "instruction": step.title,
            "state": state_of(step),
            "causes": [cause.kind for cause in step.causes],
            "files": [inline(c.path) for cause in step.causes for c in cause.changes],
            "unnoticed": [inline(change.path) for change in step.unnoticed],
            "why": inline(step.why),
        }
        for step in steps
    ]


def _escaped(text: str) -> str:
    """Escape untrusted text, and rich's markup in it."""
    return escape(inline(text))
