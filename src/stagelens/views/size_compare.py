"""A widget that compares the sizes of stages and images, divided into categories."""

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
    """A bar chart of stages and images on one scale, and a tree map of the folders of a selected one.

    `stagelens.views.size_breakdown` defines the categories.

    Parameters
    ----------
    *subjects
        Explored builds, of which all stages are shown, and results of `image_breakdown`.
    language
        The language, "en" or "ko"; by default the chosen one.

    Attributes
    ----------
    subjects
        The name, the bytes by category and the largest folders of each stage or image (read only).
    selected
        The index of the stage or image whose folders are shown.
    """

    _esm = STATIC / "size_compare.js"
    _css = STATIC / "size_compare.css"

    subjects = t.List().tag(sync=True)
    selected = t.Int().tag(sync=True)

    def __init__(self, *subjects: Exploration | SizeBreakdown, language: str | None = None) -> None:
        breakdowns: list[SizeBreakdown] = []
        for subject in subjects:
            breakdowns += [subject] if isinstance(subject, SizeBreakdown) else stage_breakdowns(subject)
        rows = [_row(breakdown) for breakdown in breakdowns]
        super().__init__(language=language, traits={"subjects": rows})

    def _category_names(self) -> dict[str, str]:
        return {
            "base": self.translate("base image"),
            "dependencies": self.translate("dependencies"),
            "tools": self.translate("build tools"),
            "app": self.translate("app"),
        }

    def _repr_html_(self) -> str:
        largest = max((row["size"] for row in self.subjects), default=0) or 1
        names = list(self._category_names().values())
        return self._render(TEMPLATES / "size_compare.html", names=names, fills=_FILLS, largest=largest)

    def __str__(self) -> str:
        names = self._category_names()
        lines: list[str] = []
        for row in self.subjects:
            parts = [f"{names[c]} {format_size(row['sizes'][c])}" for c in _FILLS if row["sizes"][c]]
            lines.append(f"{row['name']}: {format_size(row['size'])} ({', '.join(parts)})")
        return "\n".join(lines)


def _row(breakdown: SizeBreakdown) -> dict[str, Any]:
    return {
        "name": text.inline(breakdown.name, 60),
        "size": breakdown.size,
        "files": breakdown.files,
        "sizes": breakdown.sizes,
        "groups": [
            [g.category, text.inline(text.file_name(g.folder), 200), g.size] for g in breakdown.groups
        ],
        "stage": breakdown.stage,
        "final": breakdown.final,
    }
