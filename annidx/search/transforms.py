"""Flips and quarter turns of a picture, done to its stored descriptors: nothing is decoded again.

Where values stand in a descriptor is laid down in images/ (thumb, gray, signature); search/ does
not import it. Both know it from the docstrings there, and a test turns real pictures and compares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from annidx.asking import Turns
from annidx.descriptors import SIGNATURE_CODES, Descriptor
from annidx.search.exact import Hits, nearest
from annidx.search.vectors import Rows, Stored

NAMES = (
    *("none", "flip-horizontal", "flip-vertical", "rotate-180"),
    *("rotate-90", "rotate-270", "transpose", "transverse"),
)
"""All that there are; of equal distances the first counts. Rotations are clockwise. 'transpose'
mirrors at the diagonal from the upper left, 'transverse' at the other one."""

TRANSPOSING = frozenset(NAMES[4:])
"""Those that exchange width and height."""

SETS: dict[Turns, tuple[str, ...]] = {
    "none": NAMES[:1],
    "flips": NAMES[:3],
    "rotations": ("none", "rotate-180", "rotate-90", "rotate-270"),
    "all": NAMES,
}

_GRID = 9  # points of a signature on each axis
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # right, lower, lower-right, lower-left

_NEGATED = np.zeros(16, np.uint8)
for _level, _code in SIGNATURE_CODES.items():
    _NEGATED[_code] = SIGNATURE_CODES[-_level]


def turned(descriptor: Descriptor, stored: Stored, name: str) -> Stored:
    """Return the descriptors of pictures as they would be after a transform.

    Against the descriptors of the turned pixels (60 photos): thumbs and grays are the same after
    flips and half turns, and 11 away (median; 48 at most) after the transposing ones, since Pillow
    resizes one axis after the other. Signatures are the same in most cases, .06 away at most.

    Parameters
    ----------
    descriptor : Descriptor
    stored : (m, width) uint8
    name : str
        One of :data:`NAMES`.

    Returns
    -------
    (m, width) uint8
    """
    if name == "none":
        return stored
    if descriptor.encoding == "bytes":
        return np.ascontiguousarray(stored[:, _bytes_order(descriptor, name)])
    order, negative = _signature_order(name)
    codes = np.stack([stored >> 4, stored & 15], axis=2).reshape(len(stored), descriptor.dimension)
    codes = np.where(negative, _NEGATED[codes[:, order]], codes[:, order])
    return np.asarray(codes[:, 0::2] << 4 | codes[:, 1::2], np.uint8)


def nearest_of(parts: Sequence[tuple[str, Hits]], k: int | None) -> tuple[Hits, dict[int, str]]:
    """Merge what the variants of one query have found: each row once, as its nearest variant.

    Parameters
    ----------
    parts : Sequence of (str, Hits)
        The transform and the hits of each variant, searched with the same cutoff and `k`.
    k : int or None
        At most so many rows, and their ties.

    Returns
    -------
    Hits
        The rows that are nearest by any variant: one that is among the k nearest over all variants
        is among the k nearest of the one that is nearest to it.
    dict of int to str
        The transform of each row; of equal distances the one that stands first in :data:`NAMES`.
    """
    rows = np.concatenate([hits.rows for _, hits in parts])
    apart = np.concatenate([hits.distances for _, hits in parts])
    variant = np.concatenate(
        [np.full(len(hits.rows), NAMES.index(name)) for name, hits in parts]
    ).astype(np.intp)
    order = np.lexsort((variant, apart, rows))
    rows, apart, variant = rows[order], apart[order], variant[order]
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    complete = all(hits.complete for _, hits in parts)
    found = nearest(rows[first], apart[first], cutoff=np.inf, k=k, complete=complete)
    names = {int(rows[at]): NAMES[variant[at]] for at in first}
    return found, names


@cache
def _bytes_order(descriptor: Descriptor, name: str) -> Rows:
    """Return which stored byte stands at each place of a turned square of pixels."""
    is_square = math.isqrt(descriptor.dimension) ** 2 == descriptor.dimension
    channels = 1 if is_square else 3
    side = math.isqrt(descriptor.dimension // channels)
    places = np.arange(descriptor.dimension).reshape(side, side, channels)
    return _turned_grid(places, name).reshape(-1)


@cache
def _signature_order(name: str) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Return which value stands at each place of a turned signature, and which change their sign.

    A value is the difference of a point of the grid and a neighbour. After a transform two other
    points stand there; their difference is among the values, or its negative is.
    """
    grid = np.arange(_GRID * _GRID).reshape(_GRID, _GRID)
    before = _compared(grid)
    place = {pair: at for at, pair in enumerate(before)}
    after = _compared(_turned_grid(grid, name))
    order = [place[pair] if pair in place else place[pair[::-1]] for pair in after]
    return np.array(order, np.intp), np.array([pair not in place for pair in after])


def _compared(grid: npt.NDArray[np.intp]) -> list[tuple[int, int]]:
    """Return the pairs of points whose difference each value of a signature is, in its order."""
    return [
        (int(grid[y, x]), int(grid[y + down, x + right]))
        for down, right in _NEIGHBOURS
        for y in range(_GRID - down)
        for x in range(max(0, -right), _GRID - max(0, right))
    ]


def _turned_grid(grid: npt.NDArray[np.intp], name: str) -> npt.NDArray[np.intp]:
    """Turn the first two axes of an array: rows and columns of a picture."""
    if name == "flip-horizontal":
        return grid[:, ::-1]
    if name == "flip-vertical":
        return grid[::-1]
    if name.startswith("rotate-"):
        return np.rot90(grid, -int(name.removeprefix("rotate-")) // 90)  # rot90 goes anticlockwise
    swapped = np.swapaxes(grid, 0, 1)
    return swapped if name == "transpose" else swapped[::-1, ::-1]
