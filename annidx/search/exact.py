"""Blocked exact search: ground truth, and the engine that answers whatever the graph cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annidx.descriptors import Descriptor
from annidx.search.sightings import Sightings
from annidx.search.vectors import Flags, Points, Rows, Stored, Vectors, distances, embed, reach

FEW = 24
"""So many signatures are compared bit by bit; of more, one matrix product is quicker."""
_SHARP = 0.5  # beyond it bits tell little
_TOGETHER = 1024
_AT_ONCE = 8192
_TWOS = np.uint64(0xAAAA_AAAA_AAAA_AAAA)


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
    seen : Sightings, optional
        What was seen of each, when pictures were found by fingerprint: then `distances` are
        chances.
    """

    rows: Rows
    distances: npt.NDArray[np.float64]
    complete: bool
    seen: Sightings | None = None


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
    found: list[Hits] = []
    for start in range(0, len(queries), _TOGETHER):
        scan = _Scan(vectors.descriptor, queries[start : start + _TOGETHER], cutoff, k)
        for block, stored in vectors.blocks(rows):
            scan.look_at(block, stored)
        found += scan.hits()
    return found


class _Scan:
    """Some queries, and what was found of them so far."""

    def __init__(
        self, descriptor: Descriptor, queries: Stored, cutoff: float, k: int | None
    ) -> None:
        self._descriptor, self._queries = descriptor, queries
        self._cutoff, self._k = cutoff, k
        bitwise = descriptor.encoding == "levels4" and len(queries) <= FEW and cutoff <= _SHARP
        self._screen = _Bits(queries) if bitwise else _Products(descriptor, queries)
        self._found: list[list[Hits]] = [[] for _ in queries]
        self._limits = np.full(len(queries), cutoff)  # what lies beyond is not wanted any more
        self._cut = np.zeros(len(queries), np.bool_)

    def look_at(self, block: Rows, stored: Stored) -> None:
        """Compare all queries with a block of rows."""
        bounds = self._screen.bounds(stored)
        near = bounds <= self._screen.ceilings(self._limits)[:, None]
        if self._k is not None:
            self._narrow(bounds, near, stored)
        queries, places = np.nonzero(near)
        apart = self._apart(queries, stored, places)
        edges = np.searchsorted(queries, np.arange(len(self._queries) + 1))
        for at in np.flatnonzero(np.diff(edges)):
            part = slice(edges[at], edges[at + 1])
            self._add(at, block[places[part]], apart[part])

    def _apart(self, queries: Rows, stored: Stored, places: Rows) -> npt.NDArray[np.float64]:
        """Return the distances of queries and rows, pairwise, (m,)."""
        apart = np.empty(len(queries), np.float64)
        for start in range(0, len(queries), _AT_ONCE):  # many copies are near to many copies
            part = slice(start, start + _AT_ONCE)
            one, other = self._queries[queries[part]], stored[places[part]]
            apart[part] = distances(self._descriptor, one, other)
        return apart

    def hits(self) -> list[Hits]:
        """Return what was found."""
        merged = [merge(parts, k=self._k) for parts in self._found]
        return [
            Hits(each.rows, each.distances, each.complete and not cut)
            for each, cut in zip(merged, self._cut.tolist(), strict=True)
        ]

    def _narrow(self, bounds: Points, near: Flags, stored: Stored) -> None:
        """Where far more than k rows may count, let the nearest of them limit the others."""
        assert self._k is not None
        some = 4 * self._k + 64
        for at in np.flatnonzero(np.count_nonzero(near, axis=1) > some):
            first = np.argpartition(bounds[at], some)[:some]
            apart = np.sort(distances(self._descriptor, self._queries[at : at + 1], stored[first]))
            if apart[self._k] <= self._cutoff:
                self._limits[at] = min(self._limits[at], apart[self._k - 1])
                self._cut[at] = True
        near &= bounds <= self._screen.ceilings(self._limits)[:, None]

    def _add(self, at: np.intp, rows: Rows, apart: npt.NDArray[np.float64]) -> None:
        self._found[at].append(nearest(rows, apart, cutoff=self._cutoff, k=self._k))
        if self._k is not None:
            # Only when the answer is known not to be complete: until then everything within the
            # cutoff counts, if only to say that k cut it short.
            merged = merge(self._found[at], k=self._k)
            self._found[at] = [merged]
            if not merged.complete:
                self._limits[at] = min(self._limits[at], merged.distances[-1])


class _Products:
    """Squared distances in the embedding, by one matrix product a block."""

    def __init__(self, descriptor: Descriptor, queries: Stored) -> None:
        self._descriptor = descriptor
        self._points = embed(descriptor, queries)
        self._lengths = np.einsum("ij,ij->i", self._points, self._points)[:, None]

    def bounds(self, stored: Stored) -> Points:
        """Return them for all queries and rows, (m, n) float32."""
        embedded = embed(self._descriptor, stored)
        squared = self._points @ embedded.T
        squared *= -2.0
        squared += np.einsum("ij,ij->i", embedded, embedded)
        squared += self._lengths
        return squared

    def ceilings(self, limits: npt.NDArray[np.float64]) -> Points:
        """Return what no bound of a row within a query's limit exceeds, (m,) float32."""
        squares = [reach(self._descriptor, limit) ** 2 for limit in limits.tolist()]
        return np.asarray(squares, np.float32)


class _Bits:
    """Lower bounds of squared signature distances, by XOR and popcount on the stored bytes.

    The codes are such that counting the bits of an XOR gives the L1 distance, and L1 <= squared L2
    for whole numbers: L1 / (||x|| + ||y||)^2 <= distance^2.
    """

    def __init__(self, queries: Stored) -> None:
        self._queries = _words(queries)
        self._norms = _norms(self._queries)

    def bounds(self, stored: Stored) -> Points:
        """Return them for all queries and rows, (m, n) float32."""
        words = _words(stored)
        norms = _norms(words)
        bounds = np.empty((len(self._queries), len(stored)), np.float32)
        for query, norm, row in zip(self._queries, self._norms, bounds, strict=True):
            apart = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.int32)
            row[:] = apart / np.maximum(norm + norms, 1.0) ** 2
        return bounds

    def ceilings(self, limits: npt.NDArray[np.float64]) -> Points:
        """Return what no bound of a row within a query's limit exceeds, (m,) float32."""
        return (limits**2 * 1.00001).astype(np.float32)


def _words(stored: Stored) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(stored).view(np.uint64)


def _norms(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Return the Euclidean norms of packed signatures: a 1 has one bit, a 2 has two."""
    bits = np.bitwise_count(words).sum(axis=1, dtype=np.int32)
    twos = np.bitwise_count(words & _TWOS).sum(axis=1, dtype=np.int32)
    return np.asarray(np.sqrt(bits + 2 * twos), np.float64)


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
