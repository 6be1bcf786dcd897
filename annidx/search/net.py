"""The first stage of the fingerprint: which pictures may match, by the nearest of their variants.

It is a wide net and no judge: see refine.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annidx.fingerprints import SLOTS
from annidx.native import processors
from annidx.search.query import Placed, Tail
from annidx.search.threads import ahead
from annidx.search.vectors import Flags, Points, Rows, Stored, Vectors, distances, embed

_BLOCK = 4096
_TOGETHER = 512


@dataclass(frozen=True, slots=True)
class Caught:
    """Pictures that lie near to some variants.

    Attributes
    ----------
    variants : (m,) intp
        Which variant was the nearest of its owner's.
    rows : (m,) intp
        Rows of the archive; each once an owner.
    views : (m,) intp
        Which stored view of the row it was.
    distances : (m,) float64
        Euclidean distance of the two unit vectors.
    """

    variants: Rows
    rows: Rows
    views: Rows
    distances: npt.NDArray[np.float64]

    def where(self, keep: Flags | Rows) -> Caught:
        """Return some of them."""
        return Caught(self.variants[keep], self.rows[keep], self.views[keep], self.distances[keep])


def scan(
    vectors: Vectors,
    codes: Stored,
    owners: Rows,
    *,
    radius: float,
    most: int,
    slots: Rows | None = None,
) -> Caught:
    """Compare variants with all stored views.

    Parameters
    ----------
    vectors : Vectors
        Of the views: :data:`annidx.fingerprints.SLOTS` rows a picture.
    codes : (m, 64) uint8
    owners : (m,) intp
        Which picture each variant is of.
    radius : float
        Inclusive, as the distance of two unit vectors.
    most : int
        At most so many rows an owner, the nearest.
    slots : (n,) intp, optional
        Only these; by default all live ones.
    """
    points = embed(vectors.descriptor, codes)
    squares = np.einsum("ij,ij->i", points, points)
    unit = vectors.descriptor.unit
    limit = (radius * unit) ** 2

    def compare(block: tuple[Rows, Stored]) -> Caught:
        which, stored = block
        others = embed(vectors.descriptor, stored)
        variants, near, squared = _near(points, squares, others, which, limit)
        return _best(variants, near, np.sqrt(np.maximum(squared, 0)) / unit, owners, most)

    return _best_of(ahead(compare, vectors.blocks(slots)), owners, most)


def in_graphs(
    vectors: Vectors,
    graphs: Sequence[Placed],
    tail: Tail | None,
    codes: Stored,
    owners: Rows,
    *,
    radius: float,
    most: int,
    count: int,
) -> Caught:
    """Ask graphs for the nearest of each variant; see :func:`scan`.

    Parameters
    ----------
    graphs : Sequence of Placed
    tail : Tail, optional
        Rows that no graph covers; they are compared with all variants.
    count : int
        So many nodes of each graph are taken for each variant.
    """
    found = []
    for graph, first in graphs:
        points = graph.project(vectors, codes)
        variants, members = graph.nearest_of_each(points, count, processors())
        slots = members.astype(np.intp) + first
        live = vectors.live[slots]
        variants, slots = variants[live], slots[live]
        apart = _apart(vectors, codes, variants, slots)
        near = apart <= radius
        found.append(_best(variants[near], slots[near], apart[near], owners, most))
    if tail is not None and len(tail.rows):
        rest = tail.rows[vectors.live[tail.rows]]
        found.append(scan(vectors, codes, owners, radius=radius, most=most, slots=rest))
    return _best_of(iter(found), owners, most)


def _apart(vectors: Vectors, codes: Stored, variants: Rows, slots: Rows) -> npt.NDArray[np.float64]:
    result = np.empty(len(slots))
    for start in range(0, len(slots), _BLOCK):
        part = slice(start, start + _BLOCK)
        stored = vectors.take(slots[part])
        result[part] = distances(vectors.descriptor, codes[variants[part]], stored)
    return result


def _near(
    points: Points, squares: Points, others: Points, slots: Rows, limit: float
) -> tuple[Rows, Rows, npt.NDArray[np.float64]]:
    """Return variants, slots and squared distances in codes, all within the limit."""
    other_squares = np.einsum("ij,ij->i", others, others)
    found = []
    for start in range(0, len(points), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        apart = squares[part, None] - 2 * (points[part] @ others.T) + other_squares
        variant, slot = np.nonzero(apart <= limit)
        found.append((variant + start, slots[slot], apart[variant, slot].astype(np.float64)))
    variants, near, apart = (np.concatenate(each) for each in zip(*found, strict=True))
    return variants, near, apart


def _best(
    variants: Rows, slots: Rows, apart: npt.NDArray[np.float64], owners: Rows, most: int
) -> Caught:
    rows, views = np.divmod(slots, SLOTS)
    return nearest(Caught(variants, rows, views, apart), owners, most)


def _best_of(parts: Iterator[Caught], owners: Rows, most: int) -> Caught:
    found = list(parts)
    if not found:
        none = np.zeros(0, np.intp)
        return Caught(none, none, none, np.zeros(0))
    every = Caught(
        np.concatenate([each.variants for each in found]),
        np.concatenate([each.rows for each in found]),
        np.concatenate([each.views for each in found]),
        np.concatenate([each.distances for each in found]),
    )
    return nearest(every, owners, most)


def nearest(every: Caught, owners: Rows, most: int) -> Caught:
    """Keep of each owner and row the nearest variant, and of each owner the `most` nearest rows."""
    owner = owners[every.variants]
    order = np.lexsort((every.variants, every.distances, every.rows, owner))
    owner, rows = owner[order], every.rows[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (owner[1:] != owner[:-1]) | (rows[1:] != rows[:-1])
    order, owner = order[first], owner[first]
    by_distance = np.lexsort((every.distances[order], owner))
    order, owner = order[by_distance], owner[by_distance]
    begins = np.searchsorted(owner, owner)
    return every.where(order[np.arange(len(order)) - begins < most])
