"""Stages, their files after each instruction, and what each instruction changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from stagelens.snapshot import Diff, Entry, Exploration, StageFiles
from stagelens.views import markup

if TYPE_CHECKING:
    import ipywidgets

_ROWS = 200


class StageView:
    """Choose a stage and an instruction; see what changed there, and open the tree folder by folder.

    `str(view)` and the static HTML say the same for all stages without a kernel.
    """

    def __init__(self, exploration: Exploration) -> None:
        self._exploration = exploration

    def show(self) -> ipywidgets.Widget:
        """The interactive form."""
        return _interactive(self._exploration)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def _repr_html_(self) -> str:
        parts = [_summary(files) for files in self._exploration.stages]
        return markup.frame("".join(parts))

    def __str__(self) -> str:
        lines: list[str] = []
        for files in self._exploration.stages:
            lines.append(f"{files.stage.label}: {len(files.final)} files")
            for instruction in files.stage.instructions:
                lines.append(f"  {markup.title(instruction)}: {counts(files.changes(instruction))}")
        return "\n".join(lines)


def counts(change: Diff) -> str:
    """A change in one line."""
    if not change:
        return "no file changes"
    parts = [
        f"{len(entries)} {word}"
        for entries, word in (
            (change.added, "added"),
            (change.changed, "changed"),
            (change.removed, "removed"),
        )
        if entries
    ]
    return ", ".join(parts) + f" ({markup.size(change.bytes_added + change.bytes_changed)})"


def _summary(files: StageFiles) -> str:
    rows = [
        (str(i.start_line), f"<code>{markup.escape(markup.title(i))}</code>", _listed(files.changes(i), 5))
        for i in files.stage.instructions
    ]
    heading = f"<h4>{markup.escape(files.stage.label)}: {len(files.final)} files</h4>"
    return heading + markup.table(("line", "instruction", "files"), rows)


def _listed(change: Diff, limit: int) -> str:
    marked = [
        *(("added", "+", entry) for entry in change.added),
        *(("changed", "~", after) for _, after in change.changed),
        *(("removed", "−", entry) for entry in change.removed),
    ]
    shown = marked if len(marked) <= limit else []
    lines = [
        f'<span class="{kind}">{sign} {markup.escape("/" + entry.path)}</span> {_size(entry)}'
        for kind, sign, entry in shown
    ]
    return "<br>".join([markup.escape(counts(change)), *lines])


def _size(entry: Entry) -> str:
    return markup.size(entry.size) if entry.kind == "file" else entry.kind


def _interactive(exploration: Exploration) -> ipywidgets.Widget:
    import ipywidgets  # slow to import, and the command line never shows a widget

    stage = ipywidgets.Dropdown(
        description="Stage",
        options=[(files.stage.label, index) for index, files in enumerate(exploration.stages)],
        value=len(exploration.stages) - 1,
    )
    step = ipywidgets.IntSlider(description="Instruction", min=0, max=0, readout=False)
    folder = ipywidgets.Text(description="Folder", value="/", continuous_update=False)
    picture = ipywidgets.HTML()

    def draw(*_: object) -> None:
        files = exploration.stages[cast(int, stage.value)]
        picture.value = _picture(files, min(step.value, len(files.tables) - 1), folder.value)

    def choose(*_: object) -> None:
        step.max = len(exploration.stages[cast(int, stage.value)].tables) - 1
        step.value = step.max
        draw()

    stage.observe(choose, "value")
    step.observe(draw, "value")
    folder.observe(draw, "value")
    choose()
    return ipywidgets.VBox([ipywidgets.HBox([stage, step, folder]), picture])


def _picture(files: StageFiles, index: int, folder: str) -> str:
    instruction = files.stage.instructions[index]
    change = files.changes(index)
    new = {entry.path for entry in change.added}
    other = {after.path for _, after in change.changed}
    rows: list[tuple[str, str, str, str]] = []
    for entry in files.tables[index].children(folder.strip("/"))[:_ROWS]:
        kind = "added" if entry.path in new else "changed" if entry.path in other else ""
        name = markup.escape(entry.name) + ("/" if entry.kind == "dir" else "")
        if entry.link_target is not None:
            name += f" → {markup.escape(entry.link_target)}"
        rows.append((f'<span class="{kind}">{name}</span>', f"{entry.mode:04o}", _size(entry), kind))
    heading = f"line {instruction.start_line}: <code>{markup.escape(markup.title(instruction))}</code>"
    place = markup.escape("/" + folder.strip("/"))
    listing = markup.table((f"files in {place}", "mode", "size", "change"), rows)
    return markup.frame(f"<p>{heading}<br>{_listed(change, 12)}</p>{listing}")
