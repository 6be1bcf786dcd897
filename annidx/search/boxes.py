"""Points side by side in space put together: the kd split that joins and leaders work on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from annidx.search.vectors import Points, Rows

_SPLIT_DIMENSIONS = 12


class Boxed:
    """Points put into boxes by halving: small boxes, of which several make a leaf.

    Parameters
    ----------
    rows : (n,) intp
        At least one.
    points : (n, p) float32
    leaf, box : int
        At most so many points in each.

    Attributes
    ----------
    rows : (n,) intp
        Of the archive, in the order of the boxes.
    points : (n, p) float32
    edges : (boxes + 1,) intp
        Box b has the points from edges[b] to edges[b + 1].
    leaves : (leaves + 1,) intp
        Leaf l has the boxes from leaves[l] to leaves[l + 1].
    low, high : (boxes, p) float32
        The corners of each box.
    columned : (n, p + 2) float32
        The points with -||x||^2 / 2 and 1 behind them.
    """

    def __init__(self, rows: Rows, points: Points, *, leaf: int, box: int) -> None:
        order, edges, leaves = [], [0], [0]
        for places in halved(points, np.arange(len(rows)), leaf):
            for part in halved(points, places, box):
                order.append(part)
                edges.append(edges[-1] + len(part))
            leaves.append(len(edges) - 1)
        ordered = np.concatenate(order)
        self.rows, self.points = rows[ordered], points[ordered]
        # Two more columns make one matrix product give -d^2 / 2 at once.
        halves = -0.5 * np.einsum("ij,ij->i", self.points, self.points)[:, None]
        self.columned = np.hstack([self.points, halves, np.ones_like(halves)])
        self.edges, self.leaves = np.array(edges), np.array(leaves)
        inside = [self.points[start:stop] for start, stop in pairwise(edges)]
        self.low = np.stack([each.min(axis=0) for each in inside])
        self.high = np.stack([each.max(axis=0) for each in inside])

    def columns(self, boxes: Rows) -> Rows:
        """Return the places of the points of some boxes."""
        starts = self.edges[boxes]
        sizes = self.edges[boxes + 1] - starts
        before = np.cumsum(sizes) - sizes
        places: Rows = np.arange(sizes.sum()) + np.repeat(starts - before, sizes)
        return places


def halved(points: Points, rows: Rows, most: int) -> Iterator[Rows]:
    """Halve along the widest of the first axes until a part has at most so many points."""
    stack = [rows]
    while stack:
        part = stack.pop()
        if len(part) <= most:
            yield part
            continue
        axis = int(np.argmax(points[part, :_SPLIT_DIMENSIONS].var(axis=0)))
        half = len(part) // 2
        order = part[np.argpartition(points[part, axis], half)]
        stack += [order[half:], order[:half]]
