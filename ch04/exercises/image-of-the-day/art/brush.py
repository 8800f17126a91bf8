"""Brushes for the catalogue's pictures: SVG elements and a few landscapes, as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

WIDTH, HEIGHT = 1600, 900

Point = tuple[float, float]


def num(value: float) -> str:
    """Write a number as short as one decimal allows."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def gradient(name: str, stops: Sequence[tuple[float, str]], *, horizontal: bool = False) -> str:
    """Define a linear gradient; `stops` are (offset from 0 to 1, colour or "colour;opacity")."""
    parts = []
    for offset, colour in stops:
        paint, _, opacity = colour.partition(";")
        alpha = f' stop-opacity="{opacity}"' if opacity else ""
        parts.append(f'<stop offset="{num(offset * 100)}%" stop-color="{paint}"{alpha}/>')
    axis = "" if horizontal else ' x2="0" y2="1"'
    return f'<linearGradient id="{name}"{axis}>{"".join(parts)}</linearGradient>'


def glow(name: str, colour: str, strength: float = 1.0) -> str:
    """Define a radial gradient that fades from `colour` to nothing."""
    return (
        f'<radialGradient id="{name}"><stop stop-color="{colour}" stop-opacity="{num(strength)}"/>'
        f'<stop offset="1" stop-color="{colour}" stop-opacity="0"/></radialGradient>'
    )


def blur(name: str, radius: float) -> str:
    """Define a Gaussian blur."""
    return (
        f'<filter id="{name}" x="-50%" y="-50%" width="200%" height="200%">'
        f'<feGaussianBlur stdDeviation="{num(radius)}"/></filter>'
    )


def rect(x: float, y: float, w: float, h: float, fill: str, extra: str = "") -> str:
    """Draw a rectangle."""
    return f'<rect x="{num(x)}" y="{num(y)}" width="{num(w)}" height="{num(h)}" fill="{fill}"{extra}/>'


def circle(x: float, y: float, r: float, fill: str, extra: str = "") -> str:
    """Draw a circle."""
    return f'<circle cx="{num(x)}" cy="{num(y)}" r="{num(r)}" fill="{fill}"{extra}/>'


def path(d: str, fill: str, extra: str = "") -> str:
    """Draw a path."""
    return f'<path d="{d}" fill="{fill}"{extra}/>'


def polygon(points: Sequence[Point]) -> str:
    """Give the path data of a closed polygon."""
    return "M" + "L".join(f"{num(x)} {num(y)}" for x, y in points) + "z"


def ridge(rng: Random, base: float, height: float, rough: float, steps: int = 64) -> list[Point]:
    """Give a mountain line across the picture: sines of falling strength, `rough` from 0 (hills) to 1."""
    waves = [(rng.uniform(0, math.tau), 1.3 * 1.9**n, (0.35 + 0.3 * rough) ** n) for n in range(6)]
    total = sum(weight for _, _, weight in waves)
    points: list[Point] = []
    for step in range(steps + 1):
        t = step / steps
        rise = sum(weight * (1 - abs(math.sin(phase + rate * t * math.pi))) for phase, rate, weight in waves)
        points.append((t * WIDTH, base - height * (rise / total) ** 1.3 + rng.uniform(-2, 2) * rough))
    return points


def ground(points: Sequence[Point], fill: str, extra: str = "") -> str:
    """Fill everything below a line that crosses the picture."""
    return path(polygon([*points, (WIDTH, HEIGHT), (0, HEIGHT)]), fill, extra)


def swell(rng: Random, y: float, height: float, length: float) -> str:
    """Give the path data of a wave line that is filled down to the lower edge."""
    x, parts = -rng.uniform(0, length), []
    start = f"M{num(x)} {num(y)}"
    while x < WIDTH:
        step = length * rng.uniform(0.8, 1.2)
        parts.append(
            f"q{num(step / 4)} {num(-height * rng.uniform(0.6, 1.3))} {num(step / 2)} 0t{num(step / 2)} 0"
        )
        x += step
    return f"{start}{''.join(parts)}V{HEIGHT}H{-length:.0f}z"


def stars(rng: Random, count: int, bottom: float, top: float = 0) -> str:
    """Scatter stars in three sizes, one path a size, each star a round dot of no length."""
    groups = []
    for share, size, opacity in ((0.7, 1.6, 0.55), (0.24, 2.6, 0.8), (0.06, 4, 1)):
        dots = (
            f"M{rng.randrange(WIDTH)} {int(top + (bottom - top) * rng.random() ** 1.25)}h0"
            for _ in range(int(count * share))
        )
        groups.append(
            f'<path d="{"".join(dots)}" stroke="#fff" stroke-width="{size}" stroke-opacity="{opacity}"/>'
        )
    return f'<g stroke-linecap="round" fill="none">{"".join(groups)}</g>'


def glints(
    rng: Random, middle: float, top: float, bottom: float, spread: float, colour: str, count: int
) -> str:
    """Draw the broken reflection of a light on water: short strokes that widen towards the viewer."""
    strokes = []
    for index in range(count):
        t = (index + rng.random()) / count
        half = spread * (0.25 + t) * rng.uniform(0.15, 1)
        x = middle + rng.uniform(-1, 1) * spread * (0.15 + 0.7 * t)
        strokes.append(f"M{num(x - half)} {num(top + (bottom - top) * t)}h{num(2 * half)}")
    return (
        f'<path d="{"".join(strokes)}" stroke="{colour}" stroke-width="4" stroke-linecap="round" '
        f'stroke-opacity=".55" fill="none"/>'
    )


def pine(x: float, foot: float, height: float) -> str:
    """Give the path data of one pine tree."""
    half = height * 0.2
    parts: list[str] = []
    for tier in range(3):
        top, low = foot - height * (1 - 0.26 * tier), foot - height * (0.62 - 0.28 * tier)
        reach = half * (0.55 + 0.3 * tier)
        parts.append(f"M{num(x)} {num(top)}L{num(x + reach)} {num(low)}H{num(x - reach)}z")
    parts.append(
        f"M{num(x - half * 0.12)} {num(foot - height * 0.1)}"
        f"h{num(half * 0.24)}V{num(foot)}h{num(-half * 0.24)}z"
    )
    return "".join(parts)


def forest(rng: Random, line: Sequence[Point], count: int, height: float, fill: str) -> str:
    """Plant pines along a line that crosses the picture."""
    trees = []
    for _ in range(count):
        x, y = line[rng.randrange(len(line))]
        trees.append(pine(x + rng.uniform(-14, 14), y + 8, height * rng.uniform(0.55, 1.1)))
    return path("".join(trees), fill)


def birds(rng: Random, x: float, y: float, count: int, size: float, colour: str) -> str:
    """Draw a loose flock."""
    wings = []
    for _ in range(count):
        s = size * rng.uniform(0.6, 1.2)
        bx, by = x + rng.gauss(0, 90), y + rng.gauss(0, 34)
        wings.append(
            f"M{num(bx - s)} {num(by - s * 0.3)}q{num(s * 0.6)} {num(-s * 0.3)} {num(s)} {num(s * 0.4)}"
        )
        wings.append(f"q{num(s * 0.4)} {num(-s * 0.7)} {num(s)} {num(-s * 0.4)}")
    return (
        f'<path d="{"".join(wings)}" fill="none" stroke="{colour}" stroke-width="3" '
        f'stroke-linecap="round" stroke-linejoin="round"/>'
    )


def picture(title: str, defs: Sequence[str], body: Sequence[str]) -> str:
    """Put a picture together."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}">'
        f"\n<title>{title}</title>\n<defs>{''.join(defs)}</defs>\n" + "\n".join(body) + "\n</svg>\n"
    )
