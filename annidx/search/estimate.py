"""How many pairs there are, told before they are sought."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from annidx.search.selfjoin import RowPairs, Sides, join, rows_of
from annidx.search.vectors import Rows, Vectors


class Estimate(NamedTuple):
    """How many pairs there are.

    Attributes
    ----------
    expected, at_least : int
        Equal when all were counted. Few pairs of a sample stand for many: about three standard
        deviations of their number lie between the two.
    """

    expected: int
    at_least: int


def estimate_pairs(
    vectors: Vectors,
    cutoff: float,
    sides: Sides | None = None,
    *,
    wanted: Callable[[Iterable[RowPairs]], Iterable[RowPairs]] = iter,
    sample: int = 1500,
) -> Estimate:
    """Estimate how many pairs lie within the cutoff, from all pairs of samples.

    Parameters
    ----------
    vectors : Vectors
    cutoff : float
        Inclusive.
    sides : Sides, optional
        Only pairs with a row on either side.
    wanted : callable, optional
        Returns of some pairs those that count.
    sample : int
        So many rows of each side.
    """
    one, other = rows_of(vectors, sides)
    first, second = drawn(one, sample), drawn(other, sample)
    if sides is None:
        second, possible, tried = first, _pairs_of(len(one)), _pairs_of(len(first))
    else:
        possible, tried = len(one) * len(other), len(first) * len(second)
    parts = list(wanted(join(vectors, first, second, cutoff)))
    found = sum(map(len, parts))
    if tried == possible:
        return Estimate(found, found)
    pairs_of_row = np.zeros(len(vectors))
    for part in parts:
        pairs_of_row += np.bincount(part.one, minlength=len(vectors))
        pairs_of_row += np.bincount(part.other, minlength=len(vectors))
    # Of a cluster that is in the sample by chance come many pairs at once.
    deviation = math.sqrt(found + (pairs_of_row**2).sum())
    sure = max(0.0, found - 3 * deviation)
    return Estimate(round(found * possible / tried), math.floor(sure * possible / tried))


def drawn(rows: Rows, sample: int) -> Rows:
    """Return at most so many of some rows, ascending, always the same ones.

    Not evenly spaced: every tenth row may be the title page of a report of ten pages.
    """
    if len(rows) <= sample:
        return rows
    chosen: Rows = np.sort(np.random.default_rng(0).choice(rows, sample, replace=False))
    return chosen


def _pairs_of(count: int) -> int:
    return count * (count - 1) // 2
