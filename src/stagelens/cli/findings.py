"""What the doctor finds: one thing looked at, its state, and the remedy where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stagelens.cli.console import out
from stagelens.text import block

State = Literal["ok", "note", "problem"]
_COLOURS: dict[State, str] = {"ok": "green", "note": "yellow", "problem": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: a `problem` keeps builds from running, a `note` does not.

    `facts` are what `text` was made from, as JSON; docs/reference/doctor.md lists them.
    """

    name: str
    state: State
    text: str
    remedy: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict[str, object])


def show(finding: Finding) -> None:
    """Print a finding, and its remedy on a line of its own."""
    colour = _COLOURS[finding.state]
    out.print(f"[{colour}]{finding.state:>7}[/{colour}]  {finding.name}: ", end="")
    # Engines, certificates and variables must not move the terminal's cursor.
    out.print(block(finding.text), markup=False, soft_wrap=True)
    if finding.remedy:
        out.print(f"         next: {block(finding.remedy)}", markup=False, soft_wrap=True)
