"""Findings of the doctor: the state of one thing, and a remedy for a problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stagelens.cli.console import out
from stagelens.text import block

State = Literal["ok", "note", "problem"]
_COLORS: dict[State, str] = {"ok": "green", "note": "yellow", "problem": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one thing that the doctor checked.

    Attributes
    ----------
    name
        What was checked.
    state
        A "problem" prevents builds, a "note" does not.
    text
        What was found.
    remedy
        What to do about it.
    facts
        The data that `text` was made from, as JSON; docs/reference/doctor.md lists them.
    """

    name: str
    state: State
    text: str
    remedy: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict[str, object])


def print_finding(finding: Finding) -> None:
    """Print a finding, and its remedy on a separate line."""
    color = _COLORS[finding.state]
    out.print(f"[{color}]{finding.state:>7}[/{color}]  {finding.name}: ", end="")
    # Text of engines, certificates and variables is untrusted.
    out.print(block(finding.text), markup=False, soft_wrap=True)
    if finding.remedy:
        out.print(f"         next: {block(finding.remedy)}", markup=False, soft_wrap=True)
