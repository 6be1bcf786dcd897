"""A second descriptor's word on pairs: what nearness of two shrunken pictures leaves open.

Pages of writing on like paper, slides of one template and screenshots of one program are near to
each other as thumbs, whatever stands on them: 20x20 pixels hold no text. Their signatures differ.
"""

from __future__ import annotations

import numpy as np

from annidx.descriptors import SIGNATURE
from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import Vectors, distances

CONFIRMED_BY = SIGNATURE
"""The descriptor that is asked about pairs of every other metric."""

CUTOFF = 0.45
"""Inclusive. Looser than the signature's own cutoff, since it only has to object."""

_AT_ONCE = 8192


def confirmed(found: RowPairs, vectors: Vectors, cutoff: float = CUTOFF) -> RowPairs:
    """Return the pairs that are within the cutoff by another descriptor, too.

    Parameters
    ----------
    found : RowPairs
        Of another metric, over the same rows; their distances stay as they are.
    vectors : Vectors
        Of the descriptor that confirms.
    cutoff : float
        Inclusive, in its unit.
    """
    kept = np.empty(len(found), np.bool_)
    for start in range(0, len(found), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        one, other = vectors.take(found.one[part]), vectors.take(found.other[part])
        kept[part] = distances(vectors.descriptor, one, other) <= cutoff
    return RowPairs(found.one[kept], found.other[kept], found.distances[kept])
