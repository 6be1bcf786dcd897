"""Candidates from the graph, re-ranked exactly, up to the cutoff.

HNSW has no range search: the number of candidates grows until the last one lies beyond everything
that can still count. Where that does not happen soon, the query goes to the exact engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from annidx.search import exact
from annidx.search.exact import Hits
from annidx.search.graph import Graph
from annidx.search.projection import Projection, project
from annidx.search.vectors import Points, Rows, Stored, Vectors, distances, embed, reach

FETCHES = (32, 128, 512)
"""Candidates asked for in turn; beyond the last the exact engine is quicker and sure."""


class Placed(NamedTuple):
    """A loaded graph, and the row of the archive from which its members are counted."""

    graph: Graph
    first: int


@dataclass(frozen=True, slots=True)
class Tail:
    """Rows that no graph covers, kept ready to be searched exactly.

    Attributes
    ----------
    rows : (u,) intp
    points : (u, p) float32
        Projected: never further apart than the vectors.
    projection : Projection
    """

    rows: Rows
    points: Points
    projection: Projection

    @classmethod
    def of(cls, vectors: Vectors, rows: Rows, projection: Projection) -> Tail:
        """Make one of some rows."""
        return cls(rows, project(vectors, rows, projection), projection)

    def search(
        self, vectors: Vectors, queries: Stored, *, cutoff: float, k: int | None
    ) -> list[Hits]:
        """Return the hits of each query among the live ones of these rows."""
        limit = reach(vectors.descriptor, cutoff)
        found = []
        for point, query in zip(
            self.projection.apply(embed(vectors.descriptor, queries)), queries, strict=True
        ):
            apart = self.points - point
            near = self.rows[np.einsum("ij,ij->i", apart, apart) <= limit * limit]
            near = near[vectors.live[near]]
            exactly = distances(vectors.descriptor, query[None], vectors.take(near))
            found.append(exact.nearest(near, exactly, cutoff=cutoff, k=k))
        return found


@dataclass(frozen=True, slots=True)
class GraphAnswer:
    """Hits of each query, and which of the queries the exact engine had to answer."""

    hits: list[Hits]
    fell_through: frozenset[int]


def graph_search(
    vectors: Vectors,
    graphs: Sequence[Placed],
    tail: Tail | None,
    queries: Stored,
    *,
    cutoff: float,
    k: int | None,
) -> GraphAnswer:
    """Find the neighbours of some queries with graphs that cover different rows.

    Parameters
    ----------
    vectors : Vectors
    graphs : Sequence of Placed
        At least one.
    tail : Tail, optional
        Rows that no graph covers; they are searched exactly and merged.
    queries : (m, width) uint8
        Stored bytes.
    cutoff : float
        Inclusive.
    k : int or None
        At most so many rows a query, and their ties; None: all within the cutoff.
    """
    found = _in_all(vectors, graphs, queries, cutoff=cutoff, k=k)
    unsure = [at for at, hits in enumerate(found) if hits is None]
    if unsure:
        scanned = exact.search(vectors, queries[unsure], cutoff=cutoff, k=k)
        for at, hits in zip(unsure, scanned, strict=True):
            found[at] = hits
    sure = [hits for hits in found if hits is not None]
    if tail is not None and len(tail.rows) > 0:
        extra = tail.search(vectors, queries, cutoff=cutoff, k=k)
        for at in set(range(len(sure))) - set(unsure):  # the exact engine has seen them already
            sure[at] = exact.merge([sure[at], extra[at]], k=k)
    return GraphAnswer(sure, frozenset(unsure))


def _in_all(
    vectors: Vectors,
    graphs: Sequence[Placed],
    queries: Stored,
    *,
    cutoff: float,
    k: int | None,
) -> list[Hits | None]:
    """Search all graphs for all queries; None where the stop rule was not met in one of them."""
    found: list[list[Hits] | None] = [[] for _ in queries]
    for placed in graphs:
        points = placed.graph.project(vectors, queries)
        for at, (point, query) in enumerate(zip(points, queries, strict=True)):
            parts = found[at]
            if parts is not None:
                hits = _one(vectors, placed, point, query[None], cutoff=cutoff, k=k)
                found[at] = None if hits is None else [*parts, hits]
    return [None if parts is None else exact.merge(parts, k=k) for parts in found]


def _one(
    vectors: Vectors,
    placed: Placed,
    point: Points,
    query: Stored,
    *,
    cutoff: float,
    k: int | None,
) -> Hits | None:
    """Search one point; None when the stop rule was not met."""
    graph, first = placed
    # A node stands for rows that may lie nearer than itself by the graph's radius.
    most = (reach(vectors.descriptor, cutoff) + graph.radius) ** 2
    for count in FETCHES:
        nodes, squared = graph.nearest(point, count)
        rows = graph.rows_of(nodes[squared <= most]) + first
        rows = rows[vectors.live[rows]]
        apart = distances(vectors.descriptor, query, vectors.take(rows))
        hits = exact.nearest(rows, apart, cutoff=cutoff, k=k)
        if len(nodes) >= graph.nodes:
            return hits
        # Whatever was not proposed lies at least as far away as the last candidate, less the
        # radius, and its real distance is no shorter than the projected one.
        limit = cutoff if hits.complete else float(hits.distances[-1])
        if len(nodes) and squared[-1] > (reach(vectors.descriptor, limit) + graph.radius) ** 2:
            return hits
        if len(nodes) < min(count, graph.nodes):
            return None
    return None
