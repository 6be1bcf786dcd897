"""The histogram of pairs, as numbers that a template draws."""

from __future__ import annotations

from dataclasses import dataclass

from annidx.service.page.board import Board, place_of

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
    places = [place_of(key, board.by_chance) for key in board.keys]
    limit = place_of(board.limit, board.by_chance)
    low = -12.0 if board.by_chance else 0.0
    high = max(limit, places[-1], 2.0 if board.by_chance else limit)
    span = (high - low) or 1.0
    counts = [0] * BARS
    for each in places:
        counts[min(BARS - 1, int((each - low) / span * BARS))] += 1
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
    inside = sum(key <= board.limit for key in board.keys)
    cut = round((limit - low) / span * WIDTH, 2)
    return Histogram(bars, cut, low, high, board.by_chance, inside, len(places) - inside)
