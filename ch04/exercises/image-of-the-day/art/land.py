"""Scenes on land: the lake at night, the ridges, the northern lights and the balloons."""

# ruff: noqa: E501 - path data reads better unbroken

from __future__ import annotations

import math
from random import Random

from brush import (
    HEIGHT,
    WIDTH,
    Point,
    birds,
    blur,
    circle,
    forest,
    glints,
    glow,
    gradient,
    ground,
    num,
    path,
    picture,
    rect,
    ridge,
    stars,
)


def night_sky() -> str:
    """Milky Way over a lake and a lit tent."""
    rng = Random(11)
    defs = [
        gradient("sky", [(0, "#050b24"), (0.55, "#14275c"), (0.85, "#3d4f8f"), (1, "#8f7fae")]),
        gradient("lake", [(0, "#5b5f97"), (0.3, "#1c2c63"), (1, "#050b24")]),
        glow("haze", "#c9c4ff", 0.5),
        glow("rose", "#ff9ecf", 0.3),
        glow("lamp", "#ffc874", 0.9),
        blur("soft", 26),
    ]
    band = "".join(
        f'<ellipse cx="{x}" cy="{rng.gauss(0, 26):.0f}" rx="{rng.randrange(90, 200)}" ry="{rng.randrange(30, 75)}" '
        f'fill="url(#{"rose" if i % 3 == 2 else "haze"})"/>'
        for i, x in enumerate(range(-800, 801, 110))
    )
    dust = "".join(f"M{rng.gauss(0, 480):.0f} {rng.gauss(0, 42):.0f}h0" for _ in range(260))
    milky = (
        f'<g transform="translate(900 330) rotate(-32)">{band}<path d="M-700 20Q-200 -26 260 14T760 0" fill="none" '
        f'stroke="#050b24" stroke-width="34" stroke-opacity=".55" filter="url(#soft)"/><path d="{dust}" fill="none" '
        f'stroke="#fff" stroke-width="2" stroke-linecap="round" stroke-opacity=".7"/></g>'
    )
    far, near = ridge(rng, 690, 330, 0.7), ridge(rng, 700, 170, 0.6)
    shore = [(x, y + 150) for x, y in ridge(rng, 700, 70, 0.2)]
    tent = (
        circle(430, 770, 240, "url(#lamp)")
        + path("M340 806L430 690L520 806z", "#ffb65c")
        + path("M430 690L520 806H450z", "#e8833a")
        + path("M412 806L430 728L448 806z", "#7a3320")
    )
    body = [
        rect(0, 0, WIDTH, HEIGHT, "url(#sky)"),
        milky,
        stars(rng, 260, 640),
        '<path d="M1240 120l-150 62" stroke="#fff" stroke-width="3" stroke-linecap="round" opacity=".8"/>',
        ground(far, "#232f66"),
        ground(near, "#141d47"),
        rect(0, 690, WIDTH, 210, "url(#lake)"),
        f'<g opacity=".35" transform="matrix(1 0 0 -.35 0 931)">{ground(near, "#0a1030")}</g>',
        glints(rng, 1010, 705, 880, 210, "#c9c4ff", 34),
        ground(shore, "#060a20"),
        forest(rng, shore, 26, 150, "#060a20"),
        tent,
    ]
    return picture("The Milky Way over a lake", defs, body)


def mountains() -> str:
    """Ridges at sunrise, paler with distance."""
    rng = Random(23)
    defs = [
        gradient("sky", [(0, "#6fa8d6"), (0.45, "#f4cfa9"), (0.7, "#ffe6bf")]),
        glow("sun", "#fffbe6"),
        gradient("mist", [(0, "#fff2dc;0"), (0.55, "#fff2dc;.7"), (1, "#fff2dc;0")]),
    ]
    body = [
        rect(0, 0, WIDTH, HEIGHT, "url(#sky)"),
        circle(1090, 330, 360, "url(#sun)"),
        circle(1090, 330, 66, "#fffdf2"),
    ]
    shades = ("#c3b4c9", "#9d98bd", "#7581ab", "#4f6a92", "#2f4f73", "#1b3552")
    line: list[Point] = []
    for layer, shade in enumerate(shades):
        line = ridge(rng, 560 + layer * 62, 300 - layer * 32, 0.9 - layer * 0.12)
        body.append(ground(line, shade))
        if layer < 4:
            body.append(rect(0, 400 + layer * 75, WIDTH, 160, "url(#mist)", ' opacity=".45"'))
    body += [
        forest(rng, line, 60, 110, "#12283f"),
        birds(rng, 560, 250, 11, 18, "#4f5a7c"),
    ]
    return picture("Six ridges at sunrise", defs, body)


def aurora() -> str:
    """Northern lights over a cabin in the snow."""
    rng = Random(31)
    defs = [
        gradient("sky", [(0, "#04122b"), (0.6, "#0d3550"), (1, "#2d6a73")]),
        gradient("green", [(0, "#b26bff;0"), (0.35, "#7a6bff;.45"), (0.8, "#4dffb0;.8"), (1, "#4dffb0;0")]),
        gradient("snow", [(0, "#cfeef0"), (1, "#6f9db5")]),
        glow("lamp", "#ffca73", 0.9),
        blur("veil", 9),
    ]
    curtains = []
    for sweep in range(3):
        phase, base = rng.uniform(0, math.tau), 430 + 55 * sweep
        for step in range(34):
            x = -40 + step * 50
            foot = base + 70 * math.sin(phase + step * 0.28) + 30 * math.sin(phase * 2 + step * 0.61)
            tall = rng.uniform(200, 330)
            curtains.append(
                rect(
                    int(x),
                    int(foot - tall),
                    66,
                    int(tall),
                    "url(#green)",
                    f' opacity="{num(rng.uniform(0.2, 0.8))}"',
                )
            )
    hills = ridge(rng, 690, 150, 0.6)
    field = [(x, y + 90) for x, y in ridge(rng, 690, 50, 0.1, 24)]
    cabin = (
        circle(1110, 725, 230, "url(#lamp)")
        + rect(1040, 690, 150, 82, "#3a2620")
        + path("M1018 700L1115 622L1212 700L1200 706L1115 640L1030 706z", "#e9f8fa")
        + path("M1034 700L1115 638L1196 700z", "#2c1b17")
        + rect(1062, 712, 40, 34, "#ffd98c")
        + rect(1134, 706, 30, 66, "#1e120f")
        + rect(1080, 712, 4, 34, "#3a2620")
        + rect(1160, 628, 18, 44, "#2c1b17")
    )
    smoke = '<path d="M1169 626q-16 -40 6 -70t-4 -80t16 -70" fill="none" stroke="#dff" stroke-width="9" stroke-linecap="round" opacity=".25"/>'
    body = [
        rect(0, 0, WIDTH, HEIGHT, "url(#sky)"),
        stars(rng, 190, 600),
        f'<g filter="url(#veil)">{"".join(curtains)}</g>',
        ground(hills, "#0a2a3c"),
        forest(rng, hills, 44, 90, "#071f2e"),
        ground(field, "url(#snow)"),
        smoke,
        cabin,
        forest(rng, field[:9], 14, 210, "#08202c"),
        forest(rng, field[-6:], 9, 230, "#08202c"),
    ]
    return picture("Northern lights over a cabin", defs, body)


def balloon(x: float, y: float, r: float, colours: tuple[str, str]) -> str:
    """Draw a hot-air balloon with vertical stripes; (x, y) is the middle of its envelope."""
    foot = y + r * 1.28
    outline = f"M{num(x)} {num(y - r)}C{{a}} {num(y - r)} {{b}} {num(y + r * 0.5)} {{c}} {num(foot)}"
    parts = []
    for index, share in enumerate((1.33, 0.86, 0.34)):
        side = r * share
        right = outline.format(a=num(x + side), b=num(x + side), c=num(x + side * 0.17))
        left = f"H{num(x - side * 0.17)}C{num(x - side)} {num(y + r * 0.5)} {num(x - side)} {num(y - r)} {num(x)} {num(y - r)}z"
        parts.append(path(right + left, colours[index % 2]))
    shade = outline.format(a=num(x + r * 1.33), b=num(x + r * 1.33), c=num(x + r * 0.22))
    parts.append(
        path(
            f"{shade}C{num(x + r * 0.9)} {num(y + r * 0.4)} {num(x + r * 0.9)} {num(y - r * 0.6)} {num(x)} {num(y - r)}z",
            "#402050",
            ' opacity=".2"',
        )
    )
    w = r * 0.34
    parts.append(
        f'<path d="M{num(x - r * 0.2)} {num(foot)}L{num(x - w / 2)} {num(foot + r * 0.34)}M{num(x + r * 0.2)} {num(foot)}'
        f'L{num(x + w / 2)} {num(foot + r * 0.34)}" stroke="#4a3030" stroke-width="{num(max(1.2, r * 0.02))}"/>'
    )
    parts.append(rect(x - w / 2, foot + r * 0.34, w, r * 0.26, "#7a4a2c", f' rx="{num(r * 0.05)}"'))
    return "".join(parts)


def balloons() -> str:
    """Hot-air balloons over hills at dawn."""
    rng = Random(71)
    defs = [
        gradient("sky", [(0, "#7ec4e8"), (0.5, "#cfe6ee"), (0.8, "#ffe9c9")]),
        glow("sun", "#fff7d6"),
        gradient("mist", [(0, "#fff;0"), (0.5, "#fff;.6"), (1, "#fff;0")]),
    ]
    hills = []
    shades = ("#b9cfd6", "#9cc0b4", "#7fae8e", "#5f976c", "#417a55")
    for layer, shade in enumerate(shades):
        hills.append(ground(ridge(rng, 680 + layer * 50, 170 - layer * 14, 0.05, 40), shade))
        if layer < 3:
            hills.append(rect(0, 590 + layer * 50, WIDTH, 120, "url(#mist)"))
    fields = "".join(
        f'<path d="M-20 {850 + 14 * n}Q{500 + 60 * n} {800 + 22 * n} 1620 {868 + 13 * n}" fill="none" stroke="#2f6346" '
        f'stroke-width="5" opacity=".45"/>'
        for n in range(5)
    )
    flying = [
        balloon(x, y, r, c)
        for x, y, r, c in (
            (1180, 470, 34, ("#e0a83c", "#fff1d6")),
            (940, 380, 46, ("#5b8db8", "#eaf3f7")),
            (1395, 330, 66, ("#d9503f", "#ffe3c7")),
            (180, 420, 58, ("#7a4a73", "#f3d7e4")),
            (720, 500, 30, ("#3f8f8b", "#e4f4ef")),
            (470, 300, 150, ("#e0553f", "#ffc95c")),
            (1090, 190, 84, ("#3f8f8b", "#f6efd9")),
        )
    ]
    clouds = (
        '<g fill="#fff" opacity=".75">'
        + "".join(
            f'<ellipse cx="{x}" cy="{y}" rx="{w}" ry="{w / 9:.0f}"/>'
            for x, y, w in (
                (200, 130, 170),
                (300, 112, 90),
                (760, 90, 130),
                (1380, 110, 190),
                (1290, 92, 100),
                (840, 270, 100),
            )
        )
        + "</g>"
    )
    body = [
        rect(0, 0, WIDTH, HEIGHT, "url(#sky)"),
        circle(1480, 560, 420, "url(#sun)"),
        clouds,
        *hills[:4],
        *flying,
        *hills[4:],
        fields,
        birds(rng, 780, 420, 5, 14, "#5d7f86"),
    ]
    return picture("Balloons at dawn", defs, body)
