"""The whole set against itself: all pairs within the cutoff.

Points are cut into boxes by a kd split; two boxes whose gap exceeds the reach hold no pair, nor
does a point whose gap to a box does. What is left is compared by matrix products in the projection
and decided by exact distances. Nothing is lost on the way: the projection is a contraction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from annidx.search import exact
from annidx.search import projection as projections
from annidx.search.vectors import Points, Rows, Vectors, distances, reach

LEAF = 512
BOX_DIMENSIONS = 16
EUCLIDEAN_DIMENSION = 32
FEW = 4096
_SPLIT_DIMENSIONS = 12
_STRIDE = 16_384


class Sides(NamedTuple):
    """Which pairs are asked for: one row of either side.

    Attributes
    ----------
    one, other : (n,) bool
        The sides may overlap, or be the same.
    """

    one: npt.NDArray[np.bool_]
    other: npt.NDArray[np.bool_]

    def of(self, found: RowPairs) -> npt.NDArray[np.bool_]:
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
    """

    one: Rows
    other: Rows
    distances: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.one)

    def where(self, keep: npt.NDArray[np.bool_]) -> RowPairs:
        """Return some of the pairs; `keep` is (m,) bool."""
        return RowPairs(self.one[keep], self.other[keep], self.distances[keep])


def estimate_pairs(vectors: Vectors, cutoff: float, sample: int = 1500) -> int:
    """Estimate how many pairs lie within the cutoff, from all pairs of an evenly spaced sample."""
    rows = np.flatnonzero(vectors.live)
    step = max(1, -(-len(rows) // sample))
    chosen = rows[::step]
    if len(chosen) < 2:
        return 0
    found = sum(len(part) for part in _join(vectors, chosen, cutoff))
    scale = len(rows) * (len(rows) - 1) / (len(chosen) * (len(chosen) - 1))
    return round(found * scale)


def pairs(vectors: Vectors, cutoff: float) -> RowPairs:
    """Return all pairs of live rows within the cutoff (inclusive)."""
    return _concatenated(list(_join(vectors, np.flatnonzero(vectors.live), cutoff)))


def exhaustive_pairs(vectors: Vectors, cutoff: float) -> RowPairs:
    """Return the same as :func:`pairs`, comparing every pair without boxes or projection.

    Slow: the ground truth that the rest is measured against.
    """
    parts = []
    for rows, stored in vectors.blocks():
        found = exact.search(vectors, stored, cutoff=cutoff, k=None)
        for row, hits in zip(rows, found, strict=True):
            later = hits.rows > row
            ones = np.full(int(later.sum()), row)
            parts.append(RowPairs(ones, hits.rows[later], hits.distances[later]))
    return _concatenated(parts)


def _concatenated(parts: Sequence[RowPairs]) -> RowPairs:
    if not parts:
        empty = np.zeros(0, np.intp)
        return RowPairs(empty, empty, np.zeros(0))
    return RowPairs(
        np.concatenate([part.one for part in parts]),
        np.concatenate([part.other for part in parts]),
        np.concatenate([part.distances for part in parts]),
    )


def _join(vectors: Vectors, rows: Rows, cutoff: float) -> Iterator[RowPairs]:
    if len(rows) < 2:
        return
    points = _points(vectors, rows)
    leaves = list(_leaves(points, np.arange(len(rows))))
    order = np.concatenate(leaves)
    rows, points = rows[order], np.ascontiguousarray(points[order])
    edges = np.cumsum([0, *(len(leaf) for leaf in leaves)])
    limit = np.float32(reach(vectors.descriptor, cutoff) ** 2)
    for one, other in _candidates(points, edges, limit):
        yield _decided(vectors, rows[one], rows[other], cutoff)


def _points(vectors: Vectors, rows: Rows) -> Points:
    """Return the points that are compared first.

    Thumbs: 32 components hold nearly all that tells two photos apart and make boxes prune. Unit
    vectors are never pruned, so all their dimensions are taken at once; so are those of few thumbs,
    for which finding the components would take longer than doing without.
    """
    if vectors.descriptor.distance != "euclidean" or len(rows) <= FEW:
        return vectors.points(rows)
    projection = projections.fit(vectors, rows, EUCLIDEAN_DIMENSION)
    return projections.project(vectors, rows, projection)


def _leaves(points: Points, rows: Rows) -> Iterator[Rows]:
    """Halve along the widest of the first axes until a leaf has at most 512 points."""
    stack = [rows]
    while stack:
        part = stack.pop()
        if len(part) <= LEAF:
            yield part
            continue
        axis = int(np.argmax(points[part, :_SPLIT_DIMENSIONS].var(axis=0)))
        half = len(part) // 2
        order = part[np.argpartition(points[part, axis], half)]
        stack += [order[half:], order[:half]]


def _candidates(
    points: Points, edges: npt.NDArray[np.intp], limit: np.float32
) -> Iterator[tuple[Rows, Rows]]:
    """Yield index pairs (one, other) of points within the limit; each pair of points once."""
    # Two more columns on each side make one matrix product give -d^2 / 2 at once.
    halves = -0.5 * np.einsum("ij,ij->i", points, points)[:, None]
    ones = np.ones_like(halves)
    left, right = np.hstack([points, halves, ones]), np.hstack([points, ones, halves])
    low = np.stack([points[a:b].min(axis=0) for a, b in pairwise(edges)])
    high = np.stack([points[a:b].max(axis=0) for a, b in pairwise(edges)])
    for leaf, (start, stop) in enumerate(pairwise(edges)):
        gaps = np.maximum(0, np.maximum(low[leaf] - high[leaf:], low[leaf:] - high[leaf]))
        near = leaf + np.flatnonzero(np.einsum("ij,ij->i", gaps, gaps) <= limit)
        columns = np.concatenate([np.arange(edges[box], edges[box + 1]) for box in near])
        columns = columns[_near_box(points[columns], low[leaf], high[leaf], limit)]
        for at in range(0, len(columns), _STRIDE):
            part = columns[at : at + _STRIDE]
            near_enough = left[start:stop] @ right[part].T >= -0.5 * limit
            one, other = np.divmod(np.flatnonzero(near_enough), len(part))
            one, other = one + start, part[other]
            later = other > one
            yield one[later], other[later]


def _near_box(
    points: Points, low: Points, high: Points, limit: np.float32
) -> npt.NDArray[np.bool_]:
    axes = slice(0, BOX_DIMENSIONS)
    outside = np.maximum(low[axes] - points[:, axes], points[:, axes] - high[axes])
    gaps = np.maximum(0, outside)
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


def by_row(found: RowPairs) -> Iterator[tuple[int, Rows, npt.NDArray[np.float64]]]:
    """Yield for every row with neighbours: the row, its neighbours' rows and their distances.

    Rows ascending; the neighbours of a row by distance, then by row.
    """
    one = np.concatenate([found.one, found.other])
    other = np.concatenate([found.other, found.one])
    apart = np.concatenate([found.distances, found.distances])
    order = np.lexsort((other, apart, one))
    one, other, apart = one[order], other[order], apart[order]
    starts = np.flatnonzero(np.diff(one, prepend=-1))
    for start, stop in pairwise([*starts, len(one)]):
        yield int(one[start]), other[start:stop], apart[start:stop]
