"""The measured certificate: how many of the true pairs a graph finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annidx.search import exact
from annidx.search.exact import Hits
from annidx.search.query import Placed, graph_search
from annidx.search.vectors import Rows, Vectors

SAMPLE = 500
TARGET = 0.999


@dataclass(frozen=True, slots=True)
class Certificate:
    """Recall of pairs under a cutoff, measured against the exact scan.

    Attributes
    ----------
    pairs, found : int
        True pairs of the sampled pictures; how many of them the graph found. Pictures whose vectors
        are equal share a node and cannot be missed: they do not count.
    recall, low, high : float or None
        Share with its 95 % Wilson interval; None without pairs.
    """

    pairs: int
    found: int
    recall: float | None
    low: float | None
    high: float | None

    def misses(self, least: float = TARGET) -> bool:
        """Tell whether the whole interval lies under a recall."""
        return self.high is not None and self.high < least


def certify(
    vectors: Vectors, placed: Placed, rows: Rows, cutoff: float, sample: int = SAMPLE
) -> Certificate:
    """Measure a graph on an evenly spaced sample of the live rows that it covers, (n,) intp.

    Of descriptors of which only some nearest vectors are needed, only these count.
    """
    queries = vectors.take(sampled(rows, sample))
    truth = exact.search(vectors, queries, cutoff=cutoff, k=None, rows=rows)
    nearest = vectors.descriptor.nearest
    if nearest is None:
        answer = graph_search(vectors, [placed], None, queries, cutoff=cutoff, k=None)
        return compare(truth, [hits.rows for hits in answer.hits])
    which, members = placed.graph.nearest_of_each(
        placed.graph.project(vectors, queries), nodes_for(nearest), threads=1
    )
    found = [members[which == at].astype(np.intp) + placed.first for at in range(len(queries))]
    return compare([_nearest(hits, nearest) for hits in truth], found)


def nodes_for(nearest: int) -> int:
    """Return how many nodes hold so many nearest vectors: the query itself is one, with copies."""
    return 2 * nearest


def _nearest(hits: Hits, count: int) -> Hits:
    """Return the nearest of some hits, equal vectors left out."""
    apart = np.flatnonzero(hits.distances > 0)
    keep = apart[np.argsort(hits.distances[apart], kind="stable")[:count]]
    return Hits(hits.rows[keep], hits.distances[keep], complete=False)


def sampled(rows: Rows, sample: int) -> Rows:
    """Return at most so many of some rows, evenly spaced."""
    return rows[:: max(1, -(-len(rows) // sample))]


def compare(truth: Sequence[Hits], rows: Sequence[Rows]) -> Certificate:
    """Return how many true hits are among the rows found; hits at a distance of 0 do not count."""
    pairs = found = 0
    for expected, got in zip(truth, rows, strict=True):
        others = expected.rows[expected.distances > 0]
        pairs += len(others)
        found += len(np.intersect1d(others, got))
    if pairs == 0:
        return Certificate(0, 0, None, None, None)
    low, high = wilson(found, pairs)
    return Certificate(pairs, found, found / pairs, low, high)


def wilson(found: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a share (Wilson 1927); z = 1.96 for 95 %.

    Examples
    --------
    >>> [round(edge, 4) for edge in wilson(1000, 1000)]
    [0.9962, 1.0]
    """
    share = found / of
    middle = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
