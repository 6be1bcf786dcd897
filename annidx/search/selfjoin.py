"""The whole set against itself: all pairs within the cutoff.

Points are cut into boxes by a kd split; two boxes whose gap exceeds the reach hold no pair, nor
does a point whose gap to a box does. What is left is compared by matrix products in the projection
and decided by exact distances. Nothing is lost on the way: the projection is a contraction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from annidx.errors import UsageError
from annidx.search import exact
from annidx.search import projection as projections
from annidx.search.boxes import Boxed
from annidx.search.sightings import Sightings, together
from annidx.search.threads import ahead
from annidx.search.vectors import Flags, Points, Rows, Vectors, distances, reach

LEAF, BOX = 512, 128
"""Points that are compared together, and points of a box that is passed over as a whole."""
BOX_DIMENSIONS = 16
PROJECTED = {"euclidean": 32, "normalised": 48}
FEW = 1500
_FITTED = 2000
_STRIDE = 8192
_HELD = 1_000_000


class Sides(NamedTuple):
    """Which pairs are asked for: one row of either side.

    Attributes
    ----------
    one, other : (n,) bool
        The sides may overlap, or be the same.
    """

    one: Flags
    other: Flags

    def possible(self) -> int:
        """Return how many pairs there could be, pairs of the same rows counted twice."""
        return int(self.one.sum()) * int(self.other.sum())

    @property
    def smaller(self) -> Flags:
        """The side with fewer rows."""
        return self.one if self.one.sum() <= self.other.sum() else self.other

    def of(self, found: RowPairs) -> Flags:
        """Tell which pairs have a row on either side, (m,) bool."""
        there = self.one[found.one] & self.other[found.other]
        return there | (self.other[found.one] & self.one[found.other])


@dataclass(frozen=True, slots=True)
class RowPairs:
    """Pairs of rows, each pair once, in no particular order.

    Attributes
    ----------
    one, other : (m,) intp
        ``one < other``.
    distances : (m,) float64
    seen : Sightings, optional
        What was seen of each, when they were found by fingerprint: then `distances` are chances.
    """

    one: Rows
    other: Rows
    distances: npt.NDArray[np.float64]
    seen: Sightings | None = None

    def __len__(self) -> int:
        return len(self.one)

    def where(self, keep: Flags) -> RowPairs:
        """Return some of the pairs; `keep` is (m,) bool."""
        seen = None if self.seen is None else self.seen.where(keep)
        return RowPairs(self.one[keep], self.other[keep], self.distances[keep], seen)


def pairs(vectors: Vectors, cutoff: float, sides: Sides | None = None) -> RowPairs:
    """Return all pairs of live rows within the cutoff (inclusive)."""
    return concatenated(list(parts(vectors, cutoff, sides)))


def parts(vectors: Vectors, cutoff: float, sides: Sides | None = None) -> Iterator[RowPairs]:
    """Yield all pairs of live rows within the cutoff, some at a time, in no particular order.

    Parameters
    ----------
    vectors : Vectors
    cutoff : float
        Inclusive.
    sides : Sides, optional
        Only pairs with a row on either side.
    """
    yield from join(vectors, *rows_of(vectors, sides), cutoff)


def exhaustive_parts(vectors: Vectors, cutoff: float) -> Iterator[RowPairs]:
    """Yield the same as :func:`parts`, comparing every pair without boxes or projection.

    Slow: the ground truth that the rest is measured against.
    """
    for rows, stored in vectors.blocks():
        found = exact.search(vectors, stored, cutoff=cutoff, k=None)
        for row, hits in zip(rows, found, strict=True):
            later = hits.rows > row
            ones = np.full(int(later.sum()), row)
            yield RowPairs(ones, hits.rows[later], hits.distances[later])


def exhaustive_pairs(vectors: Vectors, cutoff: float) -> RowPairs:
    """Return what :func:`exhaustive_parts` yields."""
    return concatenated(list(exhaustive_parts(vectors, cutoff)))


def nearest_of(some: Iterable[RowPairs], limit: int, most: int) -> tuple[RowPairs, int]:
    """Return the nearest pairs, `limit` of them and the ties of the last, and how many there were.

    What is farther is dropped on the way, so that memory stays in bounds.

    Raises
    ------
    UsageError
        When so many are equally near that more than `most` would have to be held.
    """
    found, held, count = [], 0, 0
    for part in some:
        found.append(part)
        held += len(part)
        count += len(part)
        if held > 2 * limit + _HELD:
            found = [_nearest(concatenated(found), limit)]
            held = len(found[0])
            if held > max(limit, most):
                message = (
                    f"{held:,} pairs and more lie at {found[0].distances.max():g} or nearer, more "
                    f"than the limit of {most:,} (--max-pairs): ask for fewer pictures"
                )
                raise UsageError(message)
    return _nearest(concatenated(found), limit), count


def _nearest(found: RowPairs, limit: int) -> RowPairs:
    if len(found) <= limit:
        return found
    last = np.partition(found.distances, limit - 1)[limit - 1]
    return found.where(found.distances <= last)


def concatenated(some: Sequence[RowPairs]) -> RowPairs:
    """Return one for several."""
    if not some:
        empty = np.zeros(0, np.intp)
        return RowPairs(empty, empty, np.zeros(0))
    seen = [part.seen for part in some if part.seen is not None]
    return RowPairs(
        np.concatenate([part.one for part in some]),
        np.concatenate([part.other for part in some]),
        np.concatenate([part.distances for part in some]),
        together(seen) if len(seen) == len(some) else None,
    )


def rows_of(vectors: Vectors, sides: Sides | None) -> tuple[Rows, Rows]:
    """Return the live rows of either side; the same array twice without sides."""
    if sides is None:
        rows = np.flatnonzero(vectors.live)
        return rows, rows
    return np.flatnonzero(vectors.live & sides.one), np.flatnonzero(vectors.live & sides.other)


def join(vectors: Vectors, one: Rows, other: Rows, cutoff: float) -> Iterator[RowPairs]:
    """Yield the pairs of a row of one set and a row of the other, each pair once."""
    if len(one) == 0 or len(other) == 0:
        return
    alike = one is other or np.array_equal(one, other)
    project = _projector(vectors, one, other)
    left = Boxed(one, project(one), leaf=LEAF, box=BOX)
    right = left if alike else Boxed(other, project(other), leaf=LEAF, box=BOX)
    both = np.zeros(len(vectors), np.bool_)
    both[np.intersect1d(one, other, assume_unique=True)] = True
    limit = np.float32(reach(vectors.descriptor, cutoff) ** 2)

    def compare(task: tuple[int, Rows]) -> RowPairs:
        a, b = _near(left, right, *task, limit)
        twice = both[a] & both[b] & (a > b) if not alike else np.zeros(len(a), np.bool_)
        keep = (a != b) & ~twice
        return _decided(vectors, a[keep], b[keep], cutoff)

    yield from ahead(compare, _tasks(left, right, limit, alike=alike))


def _projector(vectors: Vectors, one: Rows, other: Rows) -> Callable[[Rows], Points]:
    """Return what makes the points of rows that are compared first.

    32 components hold nearly all that tells two thumbs apart and make boxes prune; 48 leave two
    candidates for each pair of signatures. Few rows are compared in full: finding the components
    would take longer than doing without.
    """
    if len(one) + len(other) <= FEW:
        return vectors.points
    dimension = PROJECTED[vectors.descriptor.distance]
    projection = projections.fit(vectors, other, dimension, sample=_FITTED)
    return lambda rows: projections.project(vectors, rows, projection)


def _tasks(
    left: Boxed, right: Boxed, limit: np.float32, *, alike: bool
) -> Iterator[tuple[int, Rows]]:
    """Yield each leaf of one side with the points of the other whose boxes come near enough."""
    for leaf, (start, stop) in enumerate(pairwise(left.leaves.tolist())):
        first = start if alike else 0  # the leaf's own boxes, and those behind it
        low, high = left.low[start:stop].min(axis=0), left.high[start:stop].max(axis=0)
        gaps = np.maximum(0, np.maximum(low - right.high[first:], right.low[first:] - high))
        near = first + np.flatnonzero(np.einsum("ij,ij->i", gaps, gaps) <= limit)
        columns = right.columns(near)
        for at in range(0, len(columns), _STRIDE):
            yield leaf, columns[at : at + _STRIDE]


def _near(
    left: Boxed, right: Boxed, leaf: int, columns: Rows, limit: np.float32
) -> tuple[Rows, Rows]:
    """Return rows of the archive (one, other) whose points lie within the limit.

    Points of the same set come once, but also with themselves.
    """
    start, stop = (int(left.edges[box]) for box in left.leaves[leaf : leaf + 2])
    points = left.points[start:stop]
    columns = columns[_near_box(right.points[columns, :BOX_DIMENSIONS], points, limit)]
    columned = left.columned[start:stop].copy()
    columned[:, -2:] = columned[:, :-3:-1]
    products = columned @ right.columned[columns].T
    near = np.flatnonzero(products >= -0.5 * limit)
    one, other = np.divmod(near, max(1, len(columns)))
    one, other = one + start, columns[other]
    if left is right:
        later = other > one
        one, other = one[later], other[later]
    return left.rows[one], right.rows[other]


def _near_box(points: Points, leaf: Points, limit: np.float32) -> Flags:
    """Tell which points lie near enough to the box around a leaf, by their first axes."""
    axes = points.shape[1]
    low, high = leaf[:, :axes].min(axis=0), leaf[:, :axes].max(axis=0)
    gaps = np.maximum(low - points, points - high)
    np.maximum(gaps, 0, out=gaps)
    return np.asarray(np.einsum("ij,ij->i", gaps, gaps) <= limit)


def _decided(vectors: Vectors, one: Rows, other: Rows, cutoff: float) -> RowPairs:
    apart = np.empty(len(one), np.float64)
    for start in range(0, len(one), 8192):
        part = slice(start, start + 8192)
        apart[part] = distances(
            vectors.descriptor, vectors.take(one[part]), vectors.take(other[part])
        )
    keep = apart <= cutoff
    one, other = one[keep], other[keep]
    return RowPairs(np.minimum(one, other), np.maximum(one, other), apart[keep])


def by_row(found: RowPairs) -> Iterator[tuple[int, Rows, npt.NDArray[np.float64], Rows]]:
    """Yield for every row with neighbours: the row, their rows and distances, and which pairs.

    Rows ascending; the neighbours of a row by distance, then by row.
    """
    one = np.concatenate([found.one, found.other])
    other = np.concatenate([found.other, found.one])
    apart = np.concatenate([found.distances, found.distances])
    order = np.lexsort((other, apart, one))
    one, other, apart = one[order], other[order], apart[order]
    starts = np.flatnonzero(np.diff(one, prepend=-1))
    for start, stop in pairwise([*starts, len(one)]):
        yield int(one[start]), other[start:stop], apart[start:stop], order[start:stop] % len(found)
