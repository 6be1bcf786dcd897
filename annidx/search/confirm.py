"""A second look at pairs before they make groups: what nearness of small pictures leaves open.

Pages of writing on like paper, slides of one template and screenshots of one program are near to
each other as thumbs, whatever is written there: 20x20 pixels hold no text. Signatures tell most of
them apart. ``scripts/bench_groups.py`` measures what the rule is worth.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from annidx.descriptors import Descriptor
from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import Rows, Stored, Vectors, distances

NEAR = 0.2
"""Share of a metric's default cutoff (60 for thumb): nearer pairs need no confirmation."""

LOOSE = 0.4
"""Inclusive. Looser than the signature's own cutoff of 0.3: it is not to find, only to object."""

TIGHT = 0.2
"""Inclusive, for two pictures of which more than half is one colour: slides of one template."""

PLAIN_SHARE = 0.5
PLAIN_LEVELS = 4

_AT_ONCE = 8192


def confirmed(
    found: RowPairs,
    measure: Descriptor,
    thumbs: Vectors,
    signatures: Vectors,
    *,
    near: float = NEAR,
    loose: float = LOOSE,
    tight: float = TIGHT,
) -> RowPairs:
    """Return the pairs that are very near, or whose signatures do not object.

    Parameters
    ----------
    found : RowPairs
    measure : Descriptor
        Of the metric that they were found by.
    thumbs, signatures : Vectors
        Of the same rows.
    near : float
        Share of the metric's default cutoff. A pair at exactly so much, or nearer, stays.
    loose, tight : float
        Inclusive cutoffs of signatures; `tight` where both pictures are plain. Pairs that were
        found by signatures are within the cutoff that was asked for, so that `loose` is not asked.
    """
    if measure is signatures.descriptor:
        loose = measure.largest
    kept = found.distances <= near * measure.cutoff
    asked = np.flatnonzero(~kept)
    rows = np.unique(np.concatenate([found.one[asked], found.other[asked]]))
    plain = np.zeros(len(thumbs), np.bool_)
    for block, stored in thumbs.blocks(rows):
        plain[block] = is_plain(stored)
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        one, other = found.one[part], found.other[part]
        limits = np.where(plain[one] & plain[other], tight, loose)
        kept[part] = _apart(signatures, one, other) <= limits
    return found.where(kept)


def is_plain(thumbs: Stored) -> npt.NDArray[np.bool_]:
    """Tell pictures of which more than half is one colour, (m,) bool.

    More than half of the pixels are within 4 levels of the median colour in every channel.
    """
    pixels = thumbs.reshape(len(thumbs), -1, 3).astype(np.int16)
    middle = np.partition(pixels, pixels.shape[1] // 2, axis=1)[:, pixels.shape[1] // 2]
    like = (np.abs(pixels - middle[:, None]) <= PLAIN_LEVELS).all(axis=2)
    return np.asarray(like.mean(axis=1) > PLAIN_SHARE)


def _apart(vectors: Vectors, one: Rows, other: Rows) -> npt.NDArray[np.float64]:
    return distances(vectors.descriptor, vectors.take(one), vectors.take(other))
