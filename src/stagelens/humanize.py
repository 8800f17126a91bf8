"""Numbers and instructions in the form that people read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stagelens.dockerfile import Instruction


def format_size(count: int) -> str:
    """Format a number of bytes with three digits and a decimal unit, as Docker does."""
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 999.5 or unit == "GB":
            return f"{count} B" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    raise AssertionError("unreachable")


def format_age(seconds: float) -> str:
    """Format how long ago something was in its largest unit, rounded down."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def instruction_title(instruction: Instruction, limit: int = 80) -> str:
    """Return an instruction in one line of at most `limit` characters, with `--from` as its only flag."""
    words = " ".join(f"{instruction.keyword} {instruction.arguments}".split())
    flag = instruction.flag("from")
    if instruction.keyword == "COPY" and flag is not None:
        words = f"COPY --from={flag} {instruction.arguments}"
    return words if len(words) <= limit else words[: limit - 1] + "…"
