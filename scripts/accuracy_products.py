"""Products on white, each in several colours: pictures that are no edits of each other.

Drawn here: outlines in a unit square, by named parts, with seams. accuracy_colours.py paints them.
Details (sole, label, handle, buckle) keep their colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

Point = tuple[float, float]


@dataclass
class Drawing:
    """What is drawn of a product: polygons of named parts, in a unit square, and lines on them."""

    parts: list[tuple[str, list[Point]]] = field(default_factory=list)
    seams: list[list[Point]] = field(default_factory=list)
    printed: Point = (0.5, 0.5)

    def add(self, part: str, points: Iterable[Point], *, mirrored: bool = False) -> None:
        """Add a polygon to a part, and its mirror image."""
        outline = list(points)
        self.parts.append((part, outline))
        if mirrored:
            self.parts.append((part, [(1 - x, y) for x, y in outline]))


def curve(points: Iterable[Point], steps: int = 12) -> list[Point]:
    """Return a closed smooth line (Catmull-Rom) through points."""
    p = np.array(list(points))
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    before, after, beyond = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    out = [
        0.5
        * (
            2 * b
            + (c - a) * t
            + (2 * a - 5 * b + 4 * c - d) * t**2
            + (3 * b - a - 3 * c + d) * t**3
        )
        for a, b, c, d in zip(before, p, after, beyond, strict=True)
    ]
    return [(float(x), float(y)) for x, y in np.concatenate(out)]


def oval(x: float, y: float, rx: float, ry: float) -> list[Point]:
    """Return an ellipse."""
    a = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return [(x + rx * float(np.cos(i)), y + ry * float(np.sin(i))) for i in a]


def shirt(rng: np.random.Generator) -> Drawing:
    """A shirt; the sleeves are the part."""
    w, low, arm, neck = (
        rng.uniform(*r) for r in ((0.19, 0.26), (0.8, 0.92), (0.3, 0.62), (0.06, 0.1))
    )
    d = Drawing(printed=(0.5, 0.45))
    d.add(
        "part",
        [(0.5 - w, 0.18), (0.5 - w - 0.16, arm), (0.5 - w - 0.05, arm + 0.05), (0.52 - w, 0.36)],
        mirrored=True,
    )
    d.add(
        "body",
        [
            (0.5 - neck, 0.12),
            (0.5 - w, 0.17),
            (0.51 - w, low),
            (0.49 + w, low),
            (0.5 + w, 0.17),
            (0.5 + neck, 0.12),
            (0.5, 0.12 + neck),
        ],
    )
    d.seams = [
        [(0.5 - w, 0.18), (0.52 - w, 0.37)],
        [(0.5 + w, 0.18), (0.48 + w, 0.37)],
        [(0.51 - w, low - 0.02), (0.49 + w, low - 0.02)],
    ]
    d.add("detail", oval(0.5, 0.125, neck, 0.018))
    return d


def mug(rng: np.random.Generator) -> Drawing:
    """A mug; its handle is the part."""
    w, h, taper = rng.uniform(0.2, 0.28), rng.uniform(0.4, 0.6), rng.uniform(0, 0.06)
    d = Drawing(printed=(0.43, 0.5))
    x, top, low = 0.44 + w - 0.02, 0.5 - h / 2, 0.5 + h / 2
    d.add("part", oval(x + 0.03, 0.5, 0.13, h * 0.32))
    d.add("hole", oval(x + 0.03, 0.5, 0.085, h * 0.22))
    d.add(
        "body",
        [
            (0.44 - w, top),
            *[
                (0.44 + (w - taper) * float(np.cos(a)), low + 0.05 * float(np.sin(a)))
                for a in np.linspace(np.pi, 0, 16)
            ],
            (0.44 + w, top),
        ],
    )
    d.add("detail", oval(0.44, top, w, 0.045))
    d.add("dark", oval(0.44, top + 0.006, w * 0.9, 0.034))
    return d


def shoe(rng: np.random.Generator) -> Drawing:
    """A shoe from the side; the sole keeps its colour, the heel cap is the part."""
    high, toe = rng.uniform(0.22, 0.42), rng.uniform(0.5, 0.58)
    d = Drawing(printed=(0.52, 0.58))
    d.add(
        "body",
        curve(
            [
                (0.1, 0.66),
                (0.12, high),
                (0.32, high + 0.02),
                (0.42, toe - 0.06),
                (0.7, toe),
                (0.9, 0.62),
                (0.91, 0.68),
                (0.5, 0.69),
            ]
        ),
    )
    d.add("part", curve([(0.1, 0.67), (0.115, 0.48), (0.24, 0.5), (0.27, 0.67)]))
    sole = rng.uniform(0.04, 0.08)
    d.add("detail", [(0.08, 0.66), (0.93, 0.66), (0.92, 0.68 + sole), (0.1, 0.69 + sole)])
    for k in range(int(rng.integers(3, 6))):
        x = 0.36 + 0.055 * k
        d.seams.append([(x, high + 0.12 + 0.02 * k), (x + 0.07, high + 0.08 + 0.04 * k)])
    return d


def bag(rng: np.random.Generator) -> Drawing:
    """A bag; its flap is the part, the handle and the buckle keep their colour."""
    w, top, low, flap = (
        rng.uniform(*r) for r in ((0.26, 0.36), (0.36, 0.46), (0.8, 0.9), (0.1, 0.24))
    )
    d = Drawing(printed=(0.5, (top + low) / 2 + 0.08))
    d.add("detail", oval(0.5, top, w * 0.55, rng.uniform(0.14, 0.26)))
    d.add("hole", oval(0.5, top, w * 0.48, rng.uniform(0.1, 0.13)))
    d.add("body", [(0.5 - w, top), (0.47 - w, low), (0.53 + w, low), (0.5 + w, top)])
    d.add(
        "part",
        curve(
            [
                (0.49 - w, top - 0.01),
                (0.5 - w * 0.8, top + flap),
                (0.5 + w * 0.8, top + flap),
                (0.51 + w, top - 0.01),
            ]
        ),
    )
    d.add("detail", oval(0.5, top + flap, 0.03, 0.03))
    d.seams = [[(0.49 - w, low - 0.03), (0.51 + w, low - 0.03)]]
    return d


def bottle(rng: np.random.Generator) -> Drawing:
    """A bottle; its cap is the part, the label keeps its colour."""
    w, neck, shoulder = rng.uniform(0.1, 0.17), rng.uniform(0.035, 0.06), rng.uniform(0.28, 0.42)
    d = Drawing(printed=(0.5, 0.64))
    d.add(
        "body",
        [
            (0.5 - neck, 0.14),
            (0.5 - neck, shoulder - 0.08),
            (0.5 - w, shoulder + 0.06),
            (0.5 - w, 0.9),
            (0.5 + w, 0.9),
            (0.5 + w, shoulder + 0.06),
            (0.5 + neck, shoulder - 0.08),
            (0.5 + neck, 0.14),
        ],
    )
    d.add(
        "part", [(0.49 - neck, 0.08), (0.49 - neck, 0.16), (0.51 + neck, 0.16), (0.51 + neck, 0.08)]
    )
    label = rng.uniform(0.5, 0.56)
    d.add("detail", [(0.5 - w, label), (0.5 - w, 0.76), (0.5 + w, 0.76), (0.5 + w, label)])
    return d


def chair(rng: np.random.Generator) -> Drawing:
    """A chair; its legs keep their colour, the cushion is the part."""
    w, back, seat = rng.uniform(0.2, 0.27), rng.uniform(0.08, 0.2), rng.uniform(0.5, 0.58)
    d = Drawing(printed=(0.5, 0.3))
    for x in (0.5 - w, 0.5 + w - 0.04):
        slant = 0.05 * (1 if x < 0.5 else -1)
        d.add("detail", [(x, seat), (x - slant, 0.94), (x - slant + 0.03, 0.94), (x + 0.045, seat)])
    d.add(
        "body",
        curve([(0.5 - w, back), (0.5 + w, back), (0.51 + w, seat - 0.03), (0.49 - w, seat - 0.03)]),
    )
    d.add(
        "body", [(0.5 - w, seat), (0.42 - w, seat + 0.1), (0.58 + w, seat + 0.1), (0.5 + w, seat)]
    )
    d.add(
        "part",
        curve(
            [
                (0.52 - w, seat - 0.05),
                (0.44 - w, seat + 0.06),
                (0.56 + w, seat + 0.06),
                (0.48 + w, seat - 0.05),
            ]
        ),
    )
    for k in range(1, int(rng.integers(2, 5))):
        x = 0.5 - w + 2 * w * k / 4
        d.seams.append([(x, back + 0.03), (x, seat - 0.07)])
    return d


def lamp(rng: np.random.Generator) -> Drawing:
    """A lamp; its foot is the part, the stand keeps its colour."""
    a, b, low = rng.uniform(0.08, 0.18), rng.uniform(0.2, 0.3), rng.uniform(0.38, 0.5)
    d = Drawing(printed=(0.5, 0.3))
    d.add("detail", [(0.485, low), (0.485, 0.88), (0.515, 0.88), (0.515, low)])
    d.add("body", [(0.5 - a, 0.12), (0.5 - b, low), (0.5 + b, low), (0.5 + a, 0.12)])
    d.add("part", oval(0.5, 0.89, rng.uniform(0.12, 0.2), 0.035))
    d.seams = [[(0.5 - b, low - 0.02), (0.5 + b, low - 0.02)]]
    return d


def cap(rng: np.random.Generator) -> Drawing:
    """A cap; its peak is the part."""
    high, peak = rng.uniform(0.26, 0.36), rng.uniform(0.84, 0.95)
    d = Drawing(printed=(0.4, 0.45))
    d.add("part", curve([(0.5, 0.6), (peak, 0.64), (peak - 0.03, 0.7), (0.45, 0.67)]))
    d.add(
        "body",
        curve(
            [
                (0.14, 0.64),
                (0.18, high + 0.08),
                (0.4, high),
                (0.64, high + 0.12),
                (0.7, 0.62),
                (0.4, 0.67),
            ]
        ),
    )
    d.add("detail", oval(0.42, high, 0.025, 0.015))
    d.seams = [
        [(0.42, high), (0.4, 0.66)],
        [(0.42, high), (0.24, 0.64)],
        [(0.42, high), (0.6, 0.64)],
    ]
    return d


SHAPES: tuple[Callable[[np.random.Generator], Drawing], ...] = (
    shirt,
    mug,
    shoe,
    bag,
    bottle,
    chair,
    lamp,
    cap,
)
VARIANTS = ("colour", "hue+120", "hue+240", "other", "dark", "light", "gray", "part")
"""variant-0 to variant-7: the colour of the body; in the last one that of the part only."""
