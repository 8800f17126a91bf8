"""Stages and images side by side: how large they are, and what for."""

from __future__ import annotations

from typing import Any

import traitlets as t

from stagelens import text
from stagelens.humanize import format_size
from stagelens.snapshot import Exploration
from stagelens.views.base import STATIC, View
from stagelens.views.size_breakdown import Category, SizeBreakdown, stage_breakdowns
from stagelens.views.templating import TEMPLATES

_FILLS: dict[Category, str] = {
    "base": "var(--sl-soft)",
    "dependencies": "var(--sl-stage-1)",
    "tools": "var(--sl-stage-3)",
    "app": "var(--sl-stage-0)",
}


class SizeCompare(View):
    """Bars of one scale, and a map of the selected one's folders; see `stagelens.views.size_breakdown`.

    Traits
    ------
    subjects: name, bytes by category, largest folders of each stage or image (read only).
    selected: the index of the one whose folders are shown.
    """

    _esm = STATIC / "size_compare.js"
    _css = STATIC / "size_compare.css"

    subjects = t.List().tag(sync=True)
    selected = t.Int().tag(sync=True)

    def __init__(self, *subjects: Exploration | SizeBreakdown, **traits: Any) -> None:
        """`subjects`: explored builds, each for all its stages, and results of `image_breakdown`."""
        found: list[SizeBreakdown] = []
        for subject in subjects:
            found += [subject] if isinstance(subject, SizeBreakdown) else stage_breakdowns(subject)
        super().__init__(subjects=[_row(breakdown) for breakdown in found], **traits)

    def words(self) -> dict[str, str]:
        """Return the names of the categories."""
        return {
            "base": self.say("base image"),
            "dependencies": self.say("dependencies"),
            "tools": self.say("build tools"),
            "app": self.say("app"),
        }

    def _repr_html_(self) -> str:
        largest = max((row["size"] for row in self.subjects), default=0) or 1
        names = list(self.words().values())
        return self._render(TEMPLATES / "size_compare.html", names=names, fills=_FILLS, largest=largest)

    def __str__(self) -> str:
        words = self.words()
        lines: list[str] = []
        for row in self.subjects:
            parts = [f"{words[c]} {format_size(row['sizes'][c])}" for c in _FILLS if row["sizes"][c]]
            lines.append(f"{row['name']}: {format_size(row['size'])} ({', '.join(parts)})")
        return "\n".join(lines)


def _row(found: SizeBreakdown) -> dict[str, Any]:
    return {
        "name": text.inline(found.name, 60),
        "size": found.size,
        "files": found.files,
        "sizes": found.sizes,
        "groups": [[g.category, text.inline(text.file_name(g.folder), 200), g.size] for g in found.groups],
        "stage": found.stage,
        "final": found.final,
    }
