"""Why each step ran or came from the cache, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stagelens.cache import StepForecast, StepVerdict
from stagelens.views import markup

_BADGES = {"cached": ("CACHED", "sl-added"), "depends": ("depends", "sl-soft")}


class WhyView:
    """The verdicts of `stagelens.explain`, or the steps of `stagelens.cache.forecast`, a row each."""

    def __init__(self, steps: Iterable[StepVerdict | StepForecast]) -> None:
        self._steps = tuple(steps)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def _repr_html_(self) -> str:
        return markup.frame(f'<div class="sl-card">{table(self._steps)}</div>')

    def __str__(self) -> str:
        return "\n".join(map(str, self._steps))


def table(
    steps: Sequence[StepVerdict | StepForecast], head: Sequence[str] = (), cells: Sequence[Sequence[str]] = ()
) -> str:
    """Rows for steps; `head` and `cells` (HTML) are columns before the others."""
    rows = [
        (
            *(cells[number] if cells else ()),
            badge(step),
            f'<span class="sl-soft" style="white-space:nowrap">{markup.html_text(step.label)}, '
            f"line {step.line}</span>",
            f"<code>{markup.html_text(step.title)}</code>"
            f'<div class="sl-soft">{markup.html_text(step.why, 1000)}</div>',
        )
        for number, step in enumerate(steps)
    ]
    return markup.table((*head, "step", "where", "instruction, and why"), rows)


def badge(step: StepVerdict | StepForecast) -> str:
    """The step's state as a mark."""
    state = step.outcome if isinstance(step, StepVerdict) else step.expected
    word, colour = _BADGES.get(state, (state, "sl-changed"))
    return f'<span class="sl-badge {colour}">{word}</span>'
