"""How one picture lies on another: the parts of an affine map that have names. No numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """How the second of two pictures lies on the first.

    Attributes
    ----------
    margins : tuple of four float
        How far the second reaches beyond the first at the top, bottom, left and right of the
        first, in its heights and widths; negative: what it lacks.
    mirrored : bool
        Left and right are exchanged, before it is turned.
    quarter : int
        Degrees clockwise by which it is turned then: 0, 90, 180 or 270.
    angle : float
        Degrees clockwise by which it is turned beyond that, -45 to 45.
    scale : float
        Pixels of the second for each of the first; 1 when sizes are not known.
    stretch : float
        Pixels across by pixels down, against the first (before turns): 1 when the shape is kept.
    """

    margins: tuple[float, float, float, float]
    mirrored: bool
    quarter: int
    angle: float
    scale: float
    stretch: float


def layout(found: Sequence[float], one: tuple[int, int], other: tuple[int, int]) -> Layout:
    """Take a map apart.

    Parameters
    ----------
    found : sequence of six float
        Points of the first whole picture (y, x in 0..1) to points of the second, row by row.
    one, other : tuple of int
        Upright width and height of both, in pixels; zeros when unknown.
    """
    a, b, _, c, d, _ = found
    known = min(*one, *other) > 0
    (width, height), (width2, height2) = (one, other) if known else ((1, 1), (1, 1))
    down_y, down_x = a * height2 / height, c * width2 / height
    right_y, right_x = b * height2 / width, d * width2 / width
    mirrored = right_x * down_y - right_y * down_x < 0
    if mirrored:
        right_y, right_x = -right_y, -right_x
    turned = math.degrees(math.atan2(right_y - down_x, right_x + down_y))
    quarter = round(turned / 90) * 90
    across, down = math.hypot(right_y, right_x), math.hypot(down_y, down_x)
    return Layout(
        margins(found),
        mirrored,
        quarter % 360,
        turned - quarter,
        math.sqrt(across * down) if known else 1.0,
        across / max(down, 1e-9) if known else 1.0,
    )


def margins(found: Sequence[float]) -> tuple[float, float, float, float]:
    """Return how far the second picture reaches beyond the first: top, bottom, left, right."""
    points = [applied(inverse(found), y, x) for y in (0.0, 1.0) for x in (0.0, 1.0)]
    ys, xs = zip(*points, strict=True)
    return -min(ys), max(ys) - 1, -min(xs), max(xs) - 1


def applied(found: Sequence[float], y: float, x: float) -> tuple[float, float]:
    """Return where a point lies under a map."""
    a, b, e, c, d, f = found
    return a * y + b * x + e, c * y + d * x + f


def inverse(found: Sequence[float]) -> tuple[float, ...]:
    """Return a map the other way round."""
    a, b, e, c, d, f = found
    size = a * d - b * c
    size = math.copysign(max(abs(size), 1e-9), size)
    back = (d / size, -b / size, -c / size, a / size)
    return (
        *(back[0], back[1], -(back[0] * e + back[1] * f)),
        *(back[2], back[3], -(back[2] * e + back[3] * f)),
    )


def box(found: Sequence[float], edges: Sequence[float]) -> tuple[float, float, float, float]:
    """Return the upright box around a mapped one, y0, y1, x0, x1, clipped to 0..1."""
    y0, y1, x0, x1 = edges
    points = [applied(found, y, x) for y in (y0, y1) for x in (x0, x1)]
    ys, xs = zip(*points, strict=True)
    clipped = [min(1.0, max(0.0, each)) for each in (min(ys), max(ys), min(xs), max(xs))]
    return clipped[0], clipped[1], clipped[2], clipped[3]
