"""The files of every stage after every instruction, to walk through, compare and follow."""

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

_LISTED = 40


class StageExplorer(View):
    """Choose a stage and an instruction; see what it did to the files, read them, follow them.

    Traits
    ------
    builds: what there is to choose: builds, their stages, their instructions with counts (read only).
    point: [build, stage, instruction] that is looked at, each from 0.
    against: the point it is compared with; empty for the one before the instruction.
    path: the chosen file, as it is shown.
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
        **traits: Any,
    ) -> None:
        """`explorations`: one build, or several to compare, called `names`.

        `stage` is shown first: its name or index, the target's unless told.
        """
        labels = [*names, *(f"build {n + 1}" for n in range(len(names), len(explorations)))]
        self._builds = ExplorerModel(explorations, labels)
        files = explorations[0].stage(stage)
        last = max(
            n for n, _ in enumerate(files.tables) if n == 0 or files.tables[n - 1] is not files.tables[n]
        )
        traits = {"point": [0, explorations[0].stages.index(files), last]} | traits
        super().__init__(builds=self._builds.outline(), **traits)

    def handlers(self) -> dict[str, Handler]:
        """Folders, a file's content, a file's route."""
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
        """Folders by their paths; without `paths` those that are worth opening, and the totals."""
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
        return f"{self.count('{n} file', '{n} files', stage['files'])}, {format_size(stage['bytes'])}"

    def _changes(self, instruction: dict[str, Any]) -> str:
        added, changed, removed = (instruction[kind] for kind in ("added", "changed", "removed"))
        parts = [
            self.say("{n} added", n=f"{added:,}") if added else "",
            self.say("{n} changed", n=f"{changed:,}") if changed else "",
            self.say("{n} removed", n=f"{removed:,}") if removed else "",
        ]
        shown = ", ".join(part for part in parts if part)
        return f"{shown} ({format_size(instruction['bytes'])})" if shown else self.say("no file changes")

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
            files = [*_marked(found.after, found.marks), *_marked(found.before, found.gone)][:_LISTED]
        return facts | {"count": count, "summary": self._changes(facts), "files": files}


_SIGNS = {ADDED: ("added", "+"), CHANGED: ("changed", "~"), REMOVED: ("removed", "−")}


def _marked(table: FileTable, marks: bytes) -> list[tuple[str, str, str, str]]:
    """Return the first rows of a table that are marked: word, sign, shown path, size or kind."""
    found: list[tuple[str, str, str, str]] = []
    for row, mark in enumerate(marks):
        if mark and len(found) < _LISTED:
            entry = table.entry(row)
            shown = format_size(entry.size) if entry.kind == "file" else entry.kind
            found.append((*_SIGNS[mark], text.file_name(entry.path), shown))
    return found
