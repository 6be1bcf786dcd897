"""Pairs to groups, by a stated linkage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import Rows, Vectors, distances, embed


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows that belong together.

    Attributes
    ----------
    rows : (m,) intp, ascending
    weakest : float
        Largest distance on the minimum spanning tree of its pairs: without pairs that long the
        group would fall apart.
    """

    rows: Rows
    weakest: float


def connected(found: RowPairs) -> list[RowGroup]:
    """Join whatever a chain of pairs connects (single linkage); by first row."""
    rows, flat = np.unique(np.concatenate([found.one, found.other]), return_inverse=True)
    one, other = flat[: len(found)], flat[len(found) :]
    parent = np.arange(len(rows))
    weakest = np.zeros(len(rows))
    # Kruskal: nearest pairs first, so that the last pair to join a group is its weakest link.
    for at in np.argsort(found.distances, kind="stable"):
        a, b = _find(parent, int(one[at])), _find(parent, int(other[at]))
        if a != b:
            low, high = min(a, b), max(a, b)
            parent[high] = low
            weakest[low] = found.distances[at]
    heads = np.array([_find(parent, at) for at in range(len(rows))], np.intp)
    order = np.argsort(heads, kind="stable")
    starts = np.flatnonzero(np.diff(heads[order], prepend=-1))
    return [
        RowGroup(np.sort(rows[part]), float(weakest[heads[part[0]]]))
        for part in np.split(order, starts[1:])
        if len(part)
    ]


def diameter(vectors: Vectors, rows: Rows) -> float:
    """Return the largest exact distance of two of the rows, 0 for fewer than two."""
    if len(rows) == 0:
        return 0.0
    stored = np.unique(vectors.take(rows), axis=0)  # a thousand copies are one vector
    radii = np.full(len(stored), np.inf)
    if vectors.descriptor.distance == "euclidean":
        # Outermost first: two points are no further apart than their distances to the middle
        # together, so that the farthest pair is found, and proven, after a few rows.
        points = embed(vectors.descriptor, stored)
        radii = np.linalg.norm(points - points.mean(axis=0), axis=1) + 1.0  # 1: float32 slack
        order = np.argsort(-radii)
        stored, radii = stored[order], radii[order]
    longest = 0.0
    for at in range(len(stored) - 1):
        others = stored[at + 1 :][radii[at] + radii[at + 1 :] > longest]
        if len(others) == 0:
            break
        apart = distances(vectors.descriptor, stored[at : at + 1], others)
        longest = max(longest, float(apart.max()))
    return longest


def _find(parent: npt.NDArray[np.intp], at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = int(parent[at])
    return at
