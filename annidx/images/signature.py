"""The descriptor ``signature``: the Goldberg image signature, without its redundant half."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from annidx.descriptors import SIGNATURE_CODES

GRID = 9
SMALL_DIFFERENCE = 2
LARGE_DIFFERENCE = 50

_INNER = np.arange(1.0, GRID + 1)[:, None]
_CODES = np.array([SIGNATURE_CODES[level] for level in range(-2, 3)], np.uint8)


def signature(gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """Return the signature of a gray picture, (272,) int8 in -2..2.

    1. `gray` is ITU-R 601 luma of the upright picture, (height, width) uint8.
    2. A window is cut out: for rows, the absolute differences of horizontal neighbours are summed
       and accumulated from the top; the window begins behind the last row whose accumulated sum is
       at most the 5th percentile of the accumulated values. It ends by the same rule applied from
       the bottom. Columns likewise, with vertical neighbours. An axis whose window would be shorter
       than a square is not cut.
    3. Ten equal parts of the window on each axis have nine inner points: a 9 x 9 grid.
    4. Each point gets the mean gray of a square of side
       ``P = max(2, floor(0.5 + min(width, height) / 20))`` around it, read fractionally and clipped
       at the borders.
    5. Each point is compared with its right (9x8), lower (8x9), lower-right (8x8) and lower-left
       (8x8) neighbour, in this order, rows first: d = point - neighbour, rounded to whole gray
       levels; |d| <= 2 gives 0, <= 50 gives 1, else 2, with the sign of d. The other four
       neighbours of a point are the negatives of these and are left out.

    Two signatures are compared by ``||x - y|| / (||x|| + ||y||)``.

    Source: Wong, Bern, Goldberg, "An image signature for any kind of image", ICIP 2002; the window
    by percentiles is that of the image-match library (the paper cuts 5 % of the accumulated
    difference, which moves with blur and resizing). Squares are read fractionally and the window is
    found from both ends alike, so that the signature of a mirrored picture is the permuted one.
    """
    height, width = gray.shape
    side = max(2, int(0.5 + min(width, height) / 20))
    rows = _square_weights(*_window(_differences(gray, axis=1), side), side, height)
    columns = _square_weights(*_window(_differences(gray, axis=0), side), side, width)
    return _levels(rows @ gray.astype(np.float64) @ columns.T)


def pack(levels: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Pack (..., 272) levels in -2..2 into (..., 136) bytes, the first of two in the high half."""
    codes = _CODES[levels.astype(np.intp) + 2]
    return np.asarray(codes[..., 0::2] << 4 | codes[..., 1::2], np.uint8)


def _differences(gray: npt.NDArray[np.uint8], *, axis: int) -> npt.NDArray[np.int64]:
    """Sum the absolute differences of neighbours along `axis`: one sum for each row or column."""
    after, before = (gray[:, 1:], gray[:, :-1]) if axis == 1 else (gray[1:], gray[:-1])
    absolute = np.maximum(after, before) - np.minimum(after, before)  # stays uint8: no wrap
    return np.asarray(absolute.sum(axis=axis, dtype=np.int64))


def _window(differences: npt.NDArray[np.int64], side: int) -> tuple[int, int]:
    size = len(differences)
    low = _edge(differences)
    high = size - _edge(differences[::-1])
    return (low, high) if high - low >= side else (0, size)


def _edge(differences: npt.NDArray[np.int64]) -> int:
    accumulated = differences.cumsum()
    # The 5th percentile lies between the values at this place and the next, and never reaches the
    # next unless they are equal: what is at most the percentile is at most the value here.
    here = accumulated[(len(accumulated) - 1) // 20]
    return int(accumulated.searchsorted(here, side="right"))


def _square_weights(low: int, high: int, side: int, size: int) -> npt.NDArray[np.float64]:
    """Return (9, size) weights: row i averages the pixels within side/2 of grid point i."""
    points = low + (high - low) / (GRID + 1) * _INNER
    starts, stops = np.maximum(points - side / 2, 0), np.minimum(points + side / 2, size)
    pixels = np.arange(size)
    covered = np.minimum(stops, pixels + 1) - np.maximum(starts, pixels)
    weights: npt.NDArray[np.float64] = np.maximum(covered, 0.0) / (stops - starts)
    return weights


def _levels(means: npt.NDArray[np.float64]) -> npt.NDArray[np.int8]:
    differences = np.concatenate(
        [
            (means[:, :-1] - means[:, 1:]).ravel(),
            (means[:-1] - means[1:]).ravel(),
            (means[:-1, :-1] - means[1:, 1:]).ravel(),
            (means[:-1, 1:] - means[1:, :-1]).ravel(),
        ]
    )
    # Rounded twice: differences that are x.5 but for the last bits of a sum must not flip.
    whole = np.rint(np.round(differences, 6))
    size = np.abs(whole)
    levels = np.sign(whole) * ((size > SMALL_DIFFERENCE) + (size > LARGE_DIFFERENCE).astype(int))
    return np.asarray(levels, np.int8)
