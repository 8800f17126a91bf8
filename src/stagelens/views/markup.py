"""HTML for the static twins; every text that comes from an image or a log passes `html_text`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from stagelens import text

_THEME = Path(__file__).parent / "static" / "theme.css"


def html_text(shown: str, limit: int = 300) -> str:
    """Text as HTML text: markup, control and direction characters shown, never acted on."""
    return html.escape(text.inline(shown, limit))


def frame(body: str, name: str = "", *, language: str = "en") -> str:
    """A view's outer element with its styles; `name` is a class of its own, `language` that of its words."""
    classes = f"sl {name}".strip()
    return f'<style>{_theme()}</style><div class="{classes}" lang="{language}">{body}</div>'


def heading(title: str, facts: str = "", badge: str = "", *, stage: int | None = None) -> str:
    """A card's head of three plain texts; `stage` gives the title that stage's colour."""
    colour = "" if stage is None else f' style="color:var(--sl-stage-{stage % 6})"'
    mark = f'<span class="sl-badge">{html_text(badge)}</span>' if badge else ""
    return (
        f'<div class="sl-head"><b class="sl-title"{colour}>{html_text(title)}</b>'
        f'<span class="sl-soft">{html_text(facts)}</span>{mark}</div>'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    header = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    rows_ = f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="sl-wide"><table class="sl-table">{rows_}</table></div>'


@cache
def _theme() -> str:
    return _THEME.read_text(encoding="utf-8").strip()
