"""The histogram of pairs, as numbers that a template draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annidx.service.page.board import LEAST_CHANCE, Board

WIDTH, HEIGHT = 600, 90
BARS = 40


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: left edge, width and height in units of the drawing, and how many pairs it is."""

    x: float
    width: float
    height: float
    count: int
    inside: bool


@dataclass(frozen=True, slots=True)
class Histogram:
    """How near pairs are, and the cutoff.

    Attributes
    ----------
    bars : list of Bar
    cut : float
        Where the cutoff lies, in units of the drawing.
    low, high : float
        Ends of the axis: powers of ten of chance, or distances.
    by_chance : bool
    inside, beyond : int
        Pairs.
    """

    bars: list[Bar]
    cut: float
    low: float
    high: float
    by_chance: bool
    inside: int
    beyond: int


def histogram(board: Board) -> Histogram | None:
    """Return the histogram of a board; None without pairs."""
    if not len(board.keys):
        return None
    places = places_of(board.keys, board.by_chance)
    limit = float(places_of(np.array([board.limit]), board.by_chance)[0])
    low = -12.0 if board.by_chance else 0.0
    high = max(limit, float(places[-1]), 2.0 if board.by_chance else limit)
    span = (high - low) or 1.0
    counts = np.histogram(places, BARS, (low, low + span))[0].tolist()
    step, most = WIDTH / BARS, max(counts)
    bars = [
        Bar(
            round(at * step + 1, 2),
            round(step - 2, 2),
            # By the root: copies are many, and what lies near the cutoff is few.
            round((HEIGHT - 4) * (count / most) ** 0.5, 2),
            count,
            low + at / BARS * span < limit,
        )
        for at, count in enumerate(counts)
        if count
    ]
    inside = int((board.keys <= board.limit).sum())
    cut = round((limit - low) / span * WIDTH, 2)
    return Histogram(bars, cut, low, high, board.by_chance, inside, len(places) - inside)


def places_of(keys: npt.NDArray[np.float64], by_chance: bool) -> npt.NDArray[np.float64]:
    """Return where chances or distances lie on the axis: powers of ten of a chance."""
    return np.log10(np.maximum(keys, LEAST_CHANCE)) if by_chance else keys
