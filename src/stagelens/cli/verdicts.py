"""Verdicts and forecasts in a terminal: a line for each step, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape

from stagelens.cache import StepReport
from stagelens.cli.console import out
from stagelens.text import inline

_COLOURS = {"CACHED": "green", "ran": "yellow", "runs": "yellow", "depends": "cyan", "not reached": "dim"}


def print_steps(steps: Iterable[StepReport], console: Console = out) -> None:
    """A line for each step, and below it why."""
    for step in steps:
        state = state_of(step)
        mark = f"[{_COLOURS[state]}]{state:>11}[/]"
        console.print(
            f"{mark}  {_escaped(f'{step.label}, line {step.line}')}  {_escaped(step.title)}", soft_wrap=True
        )
        console.print(f"{'':>13}[dim]{_escaped(step.why)}[/dim]", soft_wrap=True)


def state_of(step: StepReport) -> str:
    """The step's state as the docker command writes it."""
    return "CACHED" if step.outcome == "cached" else step.outcome


def as_json(steps: Iterable[StepReport]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "stage": step.label,
            "line": step.line,
            "instruction": step.title,
            "state": state_of(step),
            "causes": [cause.kind for cause in step.causes],
            "files": [inline(c.path) for cause in step.causes for c in cause.changes],
            "why": inline(step.why),
        }
        for step in steps
    ]


def _escaped(text: str) -> str:
    """Escape untrusted text, and rich's markup in it."""
    return escape(inline(text))
