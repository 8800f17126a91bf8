"""What a notebook shows of a grade: what two answers have, and how far a check is."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagelens.views.status_line import StatusLine
from stagelens.views.templating import render
from stagelens_course.grading.model import Exercise

_TEMPLATE = Path(__file__).parent / "templates" / "comparison.html"


@dataclass(frozen=True, slots=True)
class AnswerComparison:
    """Rows of plain texts below a head, as a cell's result."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/html": render(_TEMPLATE, head=self.head, rows=self.rows), "text/plain": str(self)}

    def __str__(self) -> str:
        return "\n".join(
            ", ".join(f"{name}: {cell}".removeprefix(": ") for name, cell in zip(self.head, row, strict=True))
            for row in self.rows
        )


class CheckProgress:
    """How far a check of an exercise is, by what is told of it: `done` of `all`."""

    def __init__(self, exercise: Exercise) -> None:
        self._titles = [check.title for check in exercise.checks]
        self.done, self.all = 0, len(self._titles)

    def of(self, part: str) -> str:
        """Take in what is done now; the same as a sentence begins."""
        if part in self._titles:
            self.done = self._titles.index(part)
        return part[:1].upper() + part[1:]


@contextmanager
def show_progress(exercise: Exercise) -> Generator[Callable[[str], None]]:
    """Below the cell that runs, what is being done and how far it is; gone at its end."""
    parts = CheckProgress(exercise)
    with StatusLine() as line:

        def tell(part: str) -> None:
            now = parts.of(part)
            line(f"{parts.done} of {parts.all} checks done. {now}")

        yield tell
