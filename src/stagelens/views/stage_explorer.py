"""A widget that shows the files of each stage after each instruction, and compares and traces them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets as t

from stagelens import text
from stagelens.humanize import format_size
from stagelens.snapshot import Exploration
from stagelens.snapshot.changes import ADDED, CHANGED, REMOVED
from stagelens.snapshot.table import FileTable
from stagelens.views.base import STATIC, Handler, View
from stagelens.views.explorer_model import ExplorerModel, PointIndex
from stagelens.views.file_tree import Show, Sort
from stagelens.views.templating import TEMPLATES

_MAX_ROWS = 40


class StageExplorer(View):
    """A tree of a stage's files after an instruction, with changes, contents and the origin of each file.

    Parameters
    ----------
    *explorations
        An explored build, or several to compare.
    names
        The names of the builds.
    stage
        The name or index of the stage to show first; by default the target.
    language
        The language, "en" or "ko"; by default the chosen one.

    Attributes
    ----------
    builds
        The builds with their stages and instructions, and counts of changes (read only).
    point
        The displayed point: [build, stage, instruction], each counted from 0.
    against
        The point to compare with; empty for the state before the instruction.
    path
        The selected file, as the reader sees it.
    """

    _esm = STATIC / "stage_explorer.js"
    _css = STATIC / "stage_explorer.css"

    builds = t.List().tag(sync=True)
    point = t.List(t.Int()).tag(sync=True)
    against = t.List(t.Int()).tag(sync=True)
    path = t.Unicode().tag(sync=True)

    def __init__(
        self,
        *explorations: Exploration,
        names: Sequence[str] = (),
        stage: str | int | None = None,
        language: str | None = None,
    ) -> None:
        labels = [*names, *(f"build {n + 1}" for n in range(len(names), len(explorations)))]
        self._builds = ExplorerModel(explorations, labels)
        files = explorations[0].stage(stage)
        last_change = max(
            n for n, _ in enumerate(files.tables) if n == 0 or files.tables[n - 1] is not files.tables[n]
        )
        point = [0, explorations[0].stages.index(files), last_change]
        super().__init__(language=language, traits={"builds": self._builds.outline(), "point": point})

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers for folders, the content of a file, and its origin and destinations."""
        return {"list": self._list, "content": self._content, "route": self._route}

    def _list(
        self,
        point: PointIndex,
        against: PointIndex | None,
        paths: list[str] | None,
        show: Show = "all",
        needle: str = "",
        sort: Sort = "name",
        offset: int = 0,
    ) -> dict[str, Any]:
        """Return the folders `paths`; without `paths` the folders to open at first, and the totals."""
        tree = self._builds.tree(self._other(point, against), point, show, needle)
        if paths is not None:
            return {
                "folders": {path: tree.folder(text.parse_file_name(path), sort, offset) for path in paths}
            }
        return {"folders": tree.opened(sort), "totals": tree.totals()}

    def _content(self, point: PointIndex, against: PointIndex | None, path: str) -> dict[str, Any]:
        return self._builds.content(self._other(point, against), point, text.parse_file_name(path))

    def _route(self, point: PointIndex, path: str) -> dict[str, Any]:
        return self._builds.route(point, text.parse_file_name(path))

    def _other(self, point: PointIndex, against: PointIndex | None) -> PointIndex:
        return against or self._builds.before(point)

    def _repr_html_(self) -> str:
        numbers = [(n, m) for n, build in enumerate(self.builds) for m in range(len(build["stages"]))]
        stages = [self._static_stage(build, stage) for build, stage in numbers]
        return self._render(TEMPLATES / "stage_explorer.html", stages=stages)

    def __str__(self) -> str:
        lines: list[str] = []
        for build in self.builds:
            lines += [f"{build['name']}:"] if len(self.builds) > 1 else []
            for stage in build["stages"]:
                lines.append(f"{stage['label']}: {self._files(stage)}")
                lines += [f"  {i['text']}: {self._changes(i)}" for i in stage["instructions"]]
        return "\n".join(lines)

    def _files(self, stage: dict[str, Any]) -> str:
        return (
            f"{self.translate_count('{n} file', '{n} files', stage['files'])}, {format_size(stage['bytes'])}"
        )

    def _changes(self, instruction: dict[str, Any]) -> str:
        added, changed, removed = (instruction[kind] for kind in ("added", "changed", "removed"))
        parts = [
            self.translate("{n} added", n=f"{added:,}") if added else "",
            self.translate("{n} changed", n=f"{changed:,}") if changed else "",
            self.translate("{n} removed", n=f"{removed:,}") if removed else "",
        ]
        shown = ", ".join(part for part in parts if part)
        return (
            f"{shown} ({format_size(instruction['bytes'])})" if shown else self.translate("no file changes")
        )

    def _static_stage(self, build: int, stage: int) -> dict[str, Any]:
        facts = self.builds[build]["stages"][stage]
        name = f"{self.builds[build]['name']}: " if len(self.builds) > 1 else ""
        return {
            "index": stage,
            "title": name + facts["label"],
            "facts": self._files(facts),
            "final": facts["final"],
            "rows": [
                self._static_row([build, stage, index], each)
                for index, each in enumerate(facts["instructions"])
            ],
        }

    def _static_row(self, point: PointIndex, facts: dict[str, Any]) -> dict[str, Any]:
        count = facts["added"] + facts["changed"] + facts["removed"]
        files: list[tuple[str, str, str, str]] = []
        if count:
            found = self._builds.compare(self._builds.before(point), point)
            files = [*_marked(found.after, found.marks), *_marked(found.before, found.gone)][:_MAX_ROWS]
        return facts | {"count": count, "summary": self._changes(facts), "files": files}


_SIGNS = {ADDED: ("added", "+"), CHANGED: ("changed", "~"), REMOVED: ("removed", "−")}


def _marked(table: FileTable, marks: bytes) -> list[tuple[str, str, str, str]]:
    """Return the first marked rows of a table: mark, sign, path, and size or kind."""
    found: list[tuple[str, str, str, str]] = []
    for row, mark in enumerate(marks):
        if mark and len(found) < _MAX_ROWS:
            entry = table.entry(row)
            size = format_size(entry.size) if entry.kind == "file" else entry.kind
            found.append((*_SIGNS[mark], text.file_name(entry.path), size))
    return found
