"""Blocked exact search: ground truth, and the engine that answers whatever the graph cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annidx.search.vectors import Rows, Stored, Vectors, distances, embed, reach


@dataclass(frozen=True, slots=True)
class Hits:
    """Rows near one query.

    Attributes
    ----------
    rows : (m,) intp
        By distance; equal distances by row. When more than k rows are within the cutoff, all those
        at the k-th distance are included, so that the caller can break the tie.
    distances : (m,) float64
    complete : bool
        True when these are all the rows within the cutoff.
    """

    rows: Rows
    distances: npt.NDArray[np.float64]
    complete: bool


def search(
    vectors: Vectors,
    queries: Stored,
    *,
    cutoff: float,
    k: int | None,
    rows: Rows | None = None,
) -> list[Hits]:
    """Scan the archive for the neighbours of some queries.

    Parameters
    ----------
    vectors : Vectors
    queries : (m, width) uint8
        Stored bytes.
    cutoff : float
        Inclusive.
    k : int or None
        At most so many rows a query, and their ties; None: all within the cutoff.
    rows : (n,) intp, optional
        Only these rows; by default all live ones.

    Returns
    -------
    list of Hits
        One for each query.
    """
    found: list[list[Hits]] = [[] for _ in queries]
    points = embed(vectors.descriptor, queries)
    lengths = np.einsum("ij,ij->i", points, points)
    limit = reach(vectors.descriptor, cutoff) ** 2
    limits = np.full(len(queries), limit, np.float32)
    for block, stored in vectors.blocks(rows):
        embedded = embed(vectors.descriptor, stored)
        squared = embedded @ points.T
        squared *= -2.0
        squared += np.einsum("ij,ij->i", embedded, embedded)[:, None]
        squared += lengths
        for at, query in enumerate(queries):
            near = np.flatnonzero(squared[:, at] <= limits[at])
            if len(near) == 0:
                continue
            apart = distances(vectors.descriptor, query[None], stored[near])
            found[at].append(nearest(block[near], apart, cutoff=cutoff, k=k))
            if k is not None:
                found[at] = [merge(found[at], k=k)]
                limits[at] = min(limits[at], _shrunk(vectors, found[at][0], cutoff, k))
    return [merge(parts, k=k) for parts in found]


def _shrunk(vectors: Vectors, hits: Hits, cutoff: float, k: int) -> float:
    """Return the squared reach beyond which nothing can be among the k nearest any more.

    Only once it is known that the answer is not complete: until then everything within the cutoff
    counts, if only to say that k cut it short.
    """
    if hits.complete or len(hits.rows) < k:
        return reach(vectors.descriptor, cutoff) ** 2
    return reach(vectors.descriptor, float(hits.distances[-1])) ** 2


def nearest(
    rows: Rows,
    apart: npt.NDArray[np.float64],
    *,
    cutoff: float,
    k: int | None,
    complete: bool = True,
) -> Hits:
    """Order rows by distance and cut them at the cutoff and at k, ties at k included."""
    within = np.flatnonzero(apart <= cutoff)
    order = within[np.lexsort((rows[within], apart[within]))]
    rows, apart = rows[order], apart[order]
    if k is not None and len(rows) > k:
        keep = int(np.searchsorted(apart, apart[k - 1], side="right"))
        return Hits(rows[:keep], apart[:keep], complete=False)
    return Hits(rows, apart, complete)


def merge(parts: list[Hits], *, k: int | None) -> Hits:
    """Merge the hits of disjoint sets of rows for one query."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Hits(np.zeros(0, np.intp), np.zeros(0), complete=True)
    rows = np.concatenate([part.rows for part in parts])
    apart = np.concatenate([part.distances for part in parts])
    complete = all(part.complete for part in parts)
    return nearest(rows, apart, cutoff=float("inf"), k=k, complete=complete)
