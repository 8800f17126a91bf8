"""Two small charts as inline SVG: how the points are spread, and which checks failed most."""

from __future__ import annotations

from collections.abc import Sequence

from stagelens_course.grading.words import text

_BINS = 10
_WIDTH, _HEIGHT = 600, 200


def distribution(shares: Sequence[float]) -> str:
    """A histogram of shares from 0 to 1, in ten steps; a full share is in the last."""
    counts = [0] * _BINS
    for share in shares:
        counts[min(_BINS - 1, max(0, int(share * _BINS + 1e-9)))] += 1
    top = max(counts) or 1
    step = _WIDTH / _BINS
    bars: list[str] = []
    for index, count in enumerate(counts):
        height = (_HEIGHT - 40) * count / top
        left, upper = index * step, _HEIGHT - 20 - height
        name = f"{index * 10} to {index * 10 + 10} %: {count}"
        bars.append(
            f'<g><title>{name}</title><rect x="{left + 2:.1f}" y="{upper:.1f}" width="{step - 4:.1f}" '
            f'height="{height:.1f}"/><text x="{left + step / 2:.1f}" y="{upper - 4:.1f}" '
            f'text-anchor="middle">{count or ""}</text><text x="{left + 2:.1f}" y="{_HEIGHT - 5}">'
            f"{index * 10} %</text></g>"
        )
    said = ", ".join(f"{index * 10}-{index * 10 + 10} %: {count}" for index, count in enumerate(counts))
    return _svg(_HEIGHT, f"How many learners earned which share of the points: {said}", bars)


def ranking(rows: Sequence[tuple[str, int]], total: int) -> str:
    """A bar for each (name, count) of `total`."""
    bars: list[str] = []
    for index, (name, count) in enumerate(rows):
        upper = index * 40
        width = _WIDTH * count / (total or 1)
        bars.append(
            f'<text x="0" y="{upper + 14}">{text(name, 80)}: {count}</text>'
            f'<rect x="0" y="{upper + 19}" width="{width:.1f}" height="12"/>'
        )
    said = ", ".join(f"{name} {count}" for name, count in rows)
    return _svg(len(rows) * 40, f"How many of {total} learners failed which check: {said}", bars)


def _svg(height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {_WIDTH} {height}" width="100%" style="max-width:{_WIDTH}px" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{text(label)}</title>{"".join(parts)}</svg>'
    )
