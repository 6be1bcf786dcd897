"""One for many: near-equal points that would wreck a graph get a leader, which stands for them.

HNSW links a node to a handful of others. In a cluster of hundreds of near-equal vectors (frames of
a still video, scans of empty pages) all of them go to each other, and the way there is lost. Where
only a few are near-equal, as copies of a photo are, a graph copes, and nothing is done.
"""

from __future__ import annotations

import numpy as np

from annidx.search.boxes import halved
from annidx.search.vectors import Points, Rows

DENSE = 16
"""From so many near-equal points on, which is the M of our graphs, a leader is put in."""
_LEAF = 512


def leaders(points: Points, radius: float) -> Rows:
    """Return for each point the place of the point that stands for it, (n,) intp.

    Parameters
    ----------
    points : (n, p) float32
    radius : float
        No point lies further from its leader (inclusive). Most are their own.
    """
    stands = np.arange(len(points))
    if radius <= 0:
        return stands
    for leaf in halved(points, stands.copy(), _LEAF):
        some = points[leaf]
        near = _near(some, radius)
        counts = near.sum(axis=1)
        while counts[first := int(counts.argmax())] >= DENSE:
            led = np.flatnonzero(near[first])
            stands[leaf[led]] = leaf[first]
            counts -= near[:, led].sum(axis=1)
            near[:, led] = False
            counts[led] = 0
    return stands


def _near(points: Points, radius: float) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Tell which points lie within the radius of each other, (n, n) bool."""
    lengths = np.einsum("ij,ij->i", points, points)
    squared = lengths[:, None] + lengths - 2 * (points @ points.T)
    near: np.ndarray[tuple[int, int], np.dtype[np.bool_]] = squared <= radius * radius
    return near
