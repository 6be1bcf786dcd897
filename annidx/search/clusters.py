"""What evidently hangs together among the matches of a sample of pictures.

Counts such pictures as one, so that many copies of a few do not speak for the archive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

_LARGE = 10


@dataclass(frozen=True, slots=True)
class Clusters:
    """Labels of the clusters of matches, and what each match then counts.

    Attributes
    ----------
    one, other : (m,) intp
        The clusters of the sampled picture and of the other.
    weights : (m,) float64
        All matches of two clusters count as one, if each is sampled.
    shares : (s,) float64
        Of each sampled picture in the sampled ones of its cluster.
    merged : int
        Pictures that are known to be of an earlier one's cluster.
    density : float
        Share of the pairs in large clusters that are evident themselves: copies of a picture agree
        with one another, what hangs together by chains does not.
    """

    one: Rows
    other: Rows
    weights: Floats
    shares: Floats
    merged: int
    density: float

    @classmethod
    def of(cls, sampled: Rows, ones: Rows, others: Rows, evident: Flags) -> Clusters:
        """Put together what evident matches connect; rows as in the archive, (s,), (m,), (m,)."""
        every, at = np.unique(np.concatenate([sampled, ones, others]), return_inverse=True)
        rows, ones, others = np.split(at, [len(sampled), len(sampled) + len(ones)])
        labels = _labels(len(every), ones[evident], others[evident])
        sizes = np.bincount(labels, minlength=len(every))
        asked = np.bincount(labels[rows], minlength=len(every))
        one, other = labels[ones], labels[others]
        weights = 1.0 / (asked[one] * sizes[other])
        merged = len(every) - int((sizes > 0).sum())
        large = sizes >= _LARGE
        inside = float((asked * (sizes - 1))[large].sum())
        linked = float(large[one[evident]].sum())
        shares = 1.0 / asked[labels[rows]]
        return cls(one, other, weights, shares, merged, linked / inside if inside else 1.0)


def _labels(count: int, ones: Rows, others: Rows) -> Rows:
    """Return the least member of each one's connected component, (count,) intp."""
    labels = np.arange(count)
    while True:
        least = np.minimum(labels[ones], labels[others])
        before = labels.copy()
        np.minimum.at(labels, before[ones], least)
        np.minimum.at(labels, before[others], least)
        labels = labels[labels]
        if np.array_equal(labels, before):
            return labels
