"""HTML and numbers for the views; every text that comes from an image or a log passes `escape`."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence

from stagelens.dockerfile import Instruction

_STYLE = (
    "<style>.sl table{border-collapse:collapse;font-size:13px}"
    ".sl th,.sl td{text-align:left!important;padding:2px 10px 2px 0;vertical-align:top}"
    ".sl code{font-size:12px}.sl .added{color:#1a7f37}.sl .removed{color:#cf222e}.sl .changed{color:#9a6700}"
    ".sl .badge{border:1px solid currentColor;border-radius:8px;padding:0 6px;font-size:11px}"
    "@media(prefers-color-scheme:dark){.sl .added{color:#4ac26b}.sl .removed{color:#ff8182}"
    ".sl .changed{color:#d4a72c}}</style>"
)


def escape(text: str, limit: int = 300) -> str:
    """`text` as HTML text: markup, control and direction characters shown, never acted on."""
    shown = "".join(
        character if unicodedata.category(character)[0] != "C" else f"\\u{ord(character):04x}"
        for character in text[:limit]
    )
    return html.escape(shown) + ("…" if len(text) > limit else "")


def frame(body: str) -> str:
    """A view's outer element with its styles."""
    return f'{_STYLE}<div class="sl">{body}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    header = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"


def size(count: int) -> str:
    """Bytes for people: powers of 1000, three digits."""
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000 or unit == "GB":
            return f"{count} B" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    raise AssertionError("unreachable")


def title(instruction: Instruction, limit: int = 80) -> str:
    """One line that names an instruction."""
    text = " ".join(f"{instruction.keyword} {instruction.arguments}".split())
    flag = instruction.flag("from")
    if instruction.keyword == "COPY" and flag is not None:
        text = f"COPY --from={flag} {instruction.arguments}"
    return text if len(text) <= limit else text[: limit - 1] + "…"
