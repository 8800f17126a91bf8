"""Scenes at sea: the harbour, the whale and the lighthouse."""

# ruff: noqa: E501 - path data reads better unbroken

from __future__ import annotations

from random import Random

from brush import (
    HEIGHT,
    WIDTH,
    birds,
    circle,
    glints,
    glow,
    gradient,
    ground,
    num,
    path,
    picture,
    polygon,
    rect,
    ridge,
    stars,
    swell,
)

CONTAINERS = ("#d9503f", "#e58a3c", "#e9b949", "#3f8f8b", "#3b6ea5", "#7a4a73", "#c9d1d9")


def stack(rng: Random, x: float, deck: float, bays: int, tallest: int, w: float = 64, h: float = 26) -> str:
    """Stack containers on a deck: colours from the palette, a shadow line on each."""
    parts = []
    for bay in range(bays):
        rows = max(1, tallest - abs(rng.randrange(-2, 3)))
        for row in range(rows):
            bx, by = x + bay * (w + 3), deck - (row + 1) * (h + 2)
            parts.append(rect(bx, by, w, h, rng.choice(CONTAINERS)))
            parts.append(rect(bx, by + h * 0.68, w, h * 0.32, "#1a1030", ' opacity=".22"'))
    return "".join(parts)


def crane(x: float, foot: float, height: float, colour: str) -> str:
    """Draw a ship-to-shore crane whose boom reaches to the left."""
    top, beam = foot - height, foot - height * 0.66
    lines = (
        f"M{num(x)} {num(foot)}V{num(beam)}M{num(x + 90)} {num(foot)}V{num(beam)}"
        f"M{num(x)} {num(foot - 70)}L{num(x + 90)} {num(beam)}M{num(x - 250)} {num(beam)}H{num(x + 170)}"
        f"M{num(x + 30)} {num(beam)}L{num(x + 45)} {num(top)}L{num(x + 70)} {num(beam)}"
    )
    ropes = f"M{num(x + 45)} {num(top)}L{num(x - 230)} {num(beam)}M{num(x + 45)} {num(top)}L{num(x + 165)} {num(beam)}"
    cable = f"M{num(x - 150)} {num(beam)}v96"
    return (
        f'<g fill="none" stroke="{colour}"><path d="{lines}" stroke-width="9"/>'
        f'<path d="{ropes}{cable}" stroke-width="3"/></g>'
        + rect(x - 182, beam + 96, 64, 26, "#e9b949")
        + rect(x - 30, beam, 36, 20, colour)
    )


def harbour() -> str:
    """Container harbour at dusk."""
    rng = Random(4)
    defs = [
        gradient("sky", [(0, "#1f1b4d"), (0.4, "#6b3a78"), (0.72, "#e0716a"), (1, "#ffc27a")]),
        gradient("sea", [(0, "#d9776b"), (0.25, "#70426f"), (1, "#17153b")]),
        gradient("hull", [(0, "#2b2a5a"), (0.72, "#211d48"), (0.73, "#a5353f"), (1, "#7c2433")]),
        glow("sun", "#fff1c4"),
    ]
    horizon = 610
    far = [(x, y * 0.999) for x, y in ridge(rng, horizon, 70, 0.4)]
    cloud = (
        '<g fill="#ffd9b0" opacity=".35">'
        + "".join(
            f'<ellipse cx="{rng.randrange(WIDTH)}" cy="{rng.randrange(330, 540)}" rx="{rng.randrange(120, 320)}" '
            f'ry="{rng.randrange(4, 11)}"/>'
            for _ in range(12)
        )
        + "</g>"
    )
    hull = "M250 520H1180L1230 500L1190 640Q1170 690 1110 690H330Q290 690 275 640z"
    bridge = (
        rect(300, 330, 110, 190, "#f3e9e2")
        + rect(286, 318, 138, 16, "#d9cbd0")
        + rect(330, 270, 46, 48, "#d9503f")
        + "".join(rect(312 + 24 * i, 346 + 34 * j, 14, 14, "#ffcf7d") for i in range(4) for j in range(4))
    )
    body = [
        rect(0, 0, WIDTH, HEIGHT, "url(#sky)"),
        stars(rng, 70, 260),
        circle(128, horizon - 30, 380, "url(#sun)"),
        circle(128, horizon - 30, 84, "#fff3cf"),
        cloud,
        ground(far, "#5c3a6b", ' opacity=".75"'),
        rect(0, horizon, WIDTH, HEIGHT - horizon, "url(#sea)"),
        glints(rng, 128, horizon + 10, HEIGHT - 10, 110, "#ffe0a8", 60),
        bridge,
        stack(rng, 440, 520, 10, 6),
        path(hull, "url(#hull)"),
        path("M250 520H1180L1230 500L1226 514L1184 534H254z", "#ece2dc"),
        path("M286 668H1180L1030 800H400z", "#2a1c4c", ' opacity=".62"'),
        glints(rng, 740, 676, 700, 430, "#f0b9a0", 7),
        crane(1290, 660, 520, "#2a1d4a"),
        crane(1500, 668, 560, "#21163f"),
        rect(1180, 660, 420, 240, "#150f31"),
        rect(1180, 656, 420, 10, "#4a2c5b"),
        birds(rng, 560, 190, 9, 20, "#2a1d4a"),
    ]
    return picture("Container harbour at dusk", defs, body)


def whale() -> str:
    """A whale below a small freighter."""
    rng = Random(47)
    defs = [
        gradient("sky", [(0, "#bfe6f2"), (1, "#f3fbf7")]),
        gradient("deep", [(0, "#49c0c9"), (0.3, "#1683a6"), (0.7, "#0b4575"), (1, "#061f45")]),
        gradient("ray", [(0, "#eaffff;.55"), (1, "#eaffff;0")]),
        gradient("skin", [(0, "#5f86ac"), (0.5, "#2f5680"), (1, "#1c3a61")]),
    ]
    rays = "".join(
        path(
            polygon([(x, 190), (x + w, 190), (x + w * 2.2 - 260, 800), (x - 300 - w, 800)]),
            "url(#ray)",
            f' opacity="{num(rng.uniform(0.25, 0.7))}"',
        )
        for x, w in ((260, 60), (470, 110), (760, 70), (960, 130), (1260, 60), (1450, 100))
    )
    ship = (
        stack(rng, 1030, 148, 5, 3, 44, 17)
        + rect(975, 84, 42, 66, "#fff6ec")
        + rect(983, 94, 26, 9, "#3b6ea5")
        + path("M940 150H1320L1290 214Q1284 226 1262 226H980Q962 226 956 210z", "#23364f")
        + path("M952 196H1300L1290 214Q1284 226 1262 226H980Q962 226 956 210z", "#c4463e")
    )
    body_line = "M330 560C420 420 640 380 840 420C1010 450 1120 520 1240 500C1290 490 1310 440 1370 420C1372 470 1352 505 1326 528"
    body_line += "C1360 545 1384 580 1388 628C1330 612 1290 580 1250 566C1120 640 960 690 760 690C560 690 380 670 330 560z"
    belly = "M338 584C420 620 560 640 740 640C880 640 1020 622 1130 600C1010 662 890 690 760 690C570 690 392 672 338 584z"
    grooves = "".join(
        f"M{372 + 8 * n} {num(598 + n * 13)}Q{560 + 10 * n} {num(650 + n * 9)} {760 - 20 * n} {num(652 + n * 8)}"
        for n in range(4)
    )
    animal = (
        path(body_line, "url(#skin)")
        + path(belly, "#c9dde6")
        + f'<path d="{grooves}" fill="none" stroke="#7d9db5" stroke-width="3"/>'
        + path("M640 640C660 700 720 770 800 790C806 730 780 680 740 640z", "#234a72")
        + circle(452, 548, 9, "#0a1c33")
        + circle(455, 545, 3, "#fff")
        + '<path d="M340 574Q400 600 470 590" fill="none" stroke="#16304f" stroke-width="5" stroke-linecap="round"/>'
    )
    bubbles = "".join(
        circle(
            rng.uniform(180, 380),
            rng.uniform(260, 560),
            rng.uniform(3, 13),
            "none",
            ' stroke="#d8fbff" stroke-width="2.5" opacity=".7"',
        )
        for _ in range(16)
    )
    school = "".join(
        path(f"M{num(x)} {num(y)}q16 -13 34 0l12 -8v16l-12 -8q-18 13 -34 0z", "#ffd27a", ' opacity=".85"')
        for x, y in ((1130 + rng.gauss(0, 90), 760 + rng.gauss(0, 32)) for _ in range(13))
    )
    floor = [(x, y + 160) for x, y in ridge(rng, 720, 90, 0.3, 32)]
    body = [
        rect(0, 0, WIDTH, 220, "url(#sky)"),
        '<g fill="#fff" opacity=".9"><ellipse cx="330" cy="90" rx="130" ry="20"/><ellipse cx="400" cy="74" rx="80" ry="22"/>'
        '<ellipse cx="680" cy="60" rx="90" ry="13"/></g>',
        ship,
        path(swell(rng, 204, 16, 190), "#7fd6d8", ' opacity=".7"'),
        path(swell(rng, 214, 14, 150), "url(#deep)"),
        rays,
        bubbles,
        animal,
        school,
        ground(floor, "#041733"),
    ]
    return picture("A whale under a freighter", defs, body)


def lighthouse() -> str:
    """A lighthouse in a blue storm."""
    rng = Random(59)
    defs = [
        gradient("sky", [(0, "#101b33"), (0.6, "#2c4665"), (1, "#7c93a6")]),
        gradient("beam", [(0, "#fff3c2;.9"), (1, "#fff3c2;0")], horizontal=True),
        gradient("back", [(0, "#fff3c2;0"), (1, "#fff3c2;.8")], horizontal=True),
        glow("lamp", "#fff6d6"),
        glow("cloud", "#0d1830", 0.85),
    ]
    clouds = "".join(
        f'<ellipse cx="{rng.randrange(WIDTH)}" cy="{rng.randrange(0, 260)}" rx="{rng.randrange(180, 420)}" '
        f'ry="{rng.randrange(40, 110)}" fill="url(#cloud)"/>'
        for _ in range(16)
    )
    rain = "".join(f"M{rng.randrange(WIDTH + 100)} {rng.randrange(HEIGHT - 160)}l-9 34" for _ in range(120))
    tower = (
        path("M1094 590L1112 270H1176L1194 590z", "#f4efe6")
        + "".join(
            path(
                polygon(
                    [
                        (1094 + 18 * a, 590 - 320 * a),
                        (1194 - 18 * a, 590 - 320 * a),
                        (1194 - 18 * b, 590 - 320 * b),
                        (1094 + 18 * b, 590 - 320 * b),
                    ]
                ),
                "#c8443c",
            )
            for a, b in ((0.12, 0.32), (0.5, 0.7), (0.86, 1))
        )
        + path("M1150 590L1158 270H1176L1194 590z", "#101b33", ' opacity=".22"')
        + rect(1096, 258, 96, 14, "#23304a")
        + rect(1120, 206, 48, 52, "#ffe9a6")
        + path("M1120 206h4v52h-4zM1142 206h4v52h-4zM1164 206h4v52h-4z", "#23304a")
        + path("M1108 208L1144 166L1180 208z", "#23304a")
        + rect(1136, 540, 20, 50, "#23304a")
    )
    rock = polygon(
        [
            (880, 760),
            (930, 690),
            (985, 668),
            (1010, 610),
            (1066, 586),
            (1220, 582),
            (1262, 622),
            (1330, 640),
            (1368, 700),
            (1440, 730),
            (1490, 800),
            (880, 800),
        ]
    )
    waves = [
        ("#3f617d", 660, 26, 300),
        ("#2f5070", 708, 32, 260),
        ("#22405f", 760, 38, 320),
        ("#16304d", 822, 44, 380),
    ]
    sea = [path(swell(rng, y, h, n), c) for c, y, h, n in waves]
    foam = "".join(
        f"M{num(x)} {num(y)}q{num(w / 2)} {num(-w / 5)} {num(w)} 0"
        for x, y, w in (
            (rng.uniform(0, WIDTH), rng.uniform(680, 880), rng.uniform(30, 90)) for _ in range(46)
        )
    )
    spray = "".join(
        circle(rng.gauss(905, 42), 740 - abs(rng.gauss(0, 62)), rng.uniform(2, 8), "#eef7fa")
        for _ in range(46)
    )
    body = [
        rect(0, 0, WIDTH, HEIGHT, "url(#sky)"),
        clouds,
        path("M1144 232L0 20V330z", "url(#back)", ' opacity=".75"'),
        path("M1144 232L1600 140V330z", "url(#beam)", ' opacity=".6"'),
        sea[0],
        path(rock, "#1a2233"),
        path("M1010 610L1066 586H1220L1150 640L1190 720L1080 690L1040 760L985 668z", "#2a3448"),
        tower,
        circle(1144, 232, 150, "url(#lamp)"),
        *sea[1:3],
        f'<g opacity=".8">{spray}</g>',
        sea[3],
        f'<path d="{foam}" fill="none" stroke="#dcebf2" stroke-width="4" stroke-linecap="round" opacity=".55"/>',
        f'<path d="{rain}" stroke="#cfe0ea" stroke-width="2" opacity=".28"/>',
        birds(rng, 560, 430, 6, 17, "#dfe9ee"),
    ]
    return picture("A lighthouse in the storm", defs, body)
