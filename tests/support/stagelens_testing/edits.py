"""Build twice with an edit in between, and return the forecast and the explanation of the second build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import stagelens
from stagelens.cache import StepReport, forecast, read_inputs
from stagelens.engine import Engine

Edit = Callable[[Path], object]


def line(old: str, new: str) -> Edit:
    """Replace text in the Dockerfile."""

    def edit(folder: Path) -> None:
        text = (folder / "Dockerfile").read_text()
        assert old in text
        (folder / "Dockerfile").write_text(text.replace(old, new))

    return edit


def both(*edits: Edit) -> Edit:
    """Combine edits."""

    def edit(folder: Path) -> None:
        for each in edits:
            each(folder)

    return edit


def built_twice(
    engine: Engine, folder: Path, unique: str, text: str, edit: Edit
) -> tuple[tuple[StepReport, ...], tuple[StepReport, ...]]:
    """Build a Dockerfile with some files, edit, forecast, and build again; UNIQUE is replaced."""
    for path in ("f", "d/f", "app-linux"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(unique)
    (folder / ".dockerignore").write_text("Dockerfile\n")
    (folder / "Dockerfile").write_text(text.replace("UNIQUE", unique))
    before = stagelens.record(folder, engine=engine, tags=[f"{unique}:x"])
    edit(folder)
    expected = forecast(before, read_inputs(folder, engine=engine))
    after = stagelens.record(folder, engine=engine, tags=[f"{unique}:x"])
    return expected, stagelens.explain(before, after)
