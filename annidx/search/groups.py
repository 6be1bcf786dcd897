"""Pairs to groups, by a stated linkage.

Three rules, each deterministic, whatever the order in which the pairs come:

* :func:`connected`, single linkage: whatever a chain of pairs joins.
* :func:`complete`, complete linkage: every two members are within the cutoff.
* :func:`star`: every member is within the cutoff of one of them, the centre.

Under each, pictures at distance 0 are one *node* from the start: they have the same distances to
all others, so that 5,000 copies of a picture cost one node, and copies are never torn apart.

scipy, which nmslib brings along, has connected_components, minimum_spanning_tree and linkage. Not
used: importing it takes longer than the groups of an archive of 20,000 pictures, its sparse graphs
take a distance of 0 for no pair, and its complete linkage wants all distances of all pictures, not
only those within the cutoff.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annidx.model import Linkage
from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import Rows, Vectors, distances, embed

Flags = npt.NDArray[np.bool_]

_AT_ONCE = 65_536  # pairs as Python numbers: all of ten million would take a gigabyte


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows that belong together.

    Attributes
    ----------
    rows : (m,) intp, ascending
    weakest : float
        Largest distance on the minimum spanning tree of the pairs inside the group: without pairs
        that long it would fall apart. Under `connected` that is the height of its last merge; under
        `complete` and `star` it says the same of the group as it is, not of how it was made, and
        is at most the diameter.
    """

    rows: Rows
    weakest: float


def connected(found: RowPairs) -> list[RowGroup]:
    """Join whatever a chain of pairs connects; by first row.

    Single linkage (Sneath 1957), the connected components of the pairs. The diameter may exceed the
    cutoff, and one picture between two families makes one of them.
    """
    nodes = _Nodes(found)
    return nodes.joined(np.ones(len(nodes.apart), np.bool_))


def complete(found: RowPairs) -> list[RowGroup]:
    """Join so that every two members are within the cutoff; by first row.

    Agglomerative complete linkage (Sorensen 1948; CLINK, Defays 1977), stopped at the cutoff: of
    all clusters the two whose farthest members are nearest merge next. Pairs are taken nearest
    first, ties by rows; two clusters have all their pairs behind them exactly when the last one
    comes, and merge there. Clusters with a pair that is not among those found never merge. Each
    pair is looked at once, and moved with the smaller side of a merge: O(m log m) for m pairs.
    """
    nodes = _Nodes(found)
    parent, sizes = list(range(len(nodes))), [1] * len(nodes)
    seen: list[dict[int, int]] = [{} for _ in parent]  # of each cluster: how many pairs with others
    for a, b, _ in nodes.pairs():
        one, other = _find(parent, a), _find(parent, b)
        count = seen[one].get(other, 0) + 1
        if count < sizes[one] * sizes[other]:
            seen[one][other] = seen[other][one] = count
            continue
        if len(seen[one]) < len(seen[other]):
            one, other = other, one
        parent[other] = one
        sizes[one] += sizes[other]
        seen[one].pop(other, None)
        seen[other].pop(one, None)
        for third, more in seen[other].items():
            del seen[third][other]
            seen[one][third] = seen[third][one] = seen[one].get(third, 0) + more
        seen[other] = {}
    return nodes.joined_by(np.array([_find(parent, at) for at in range(len(nodes))], np.intp))


def star(found: RowPairs) -> list[RowGroup]:
    """Join pictures with a centre that all of them are within the cutoff of; by first row.

    Star clustering (Aslam, Pelekhov and Rus 2004) made a partition: whoever has most pictures
    within the cutoff becomes a centre first, of equal ones who is nearest to them (least sum of
    distances), then who comes first; no centre is within the cutoff of another one. Everybody else
    goes to the nearest centre, of equally near ones to the one that was chosen first. The diameter
    is at most twice the cutoff under a Euclidean metric.
    """
    nodes = _Nodes(found)
    ends, others, apart = nodes.both_ways()
    near = np.bincount(ends, nodes.counts[others], len(nodes)) + nodes.counts
    far = np.bincount(ends, nodes.counts[others] * apart, len(nodes))
    chosen = np.lexsort((np.arange(len(nodes)), far, -near))
    place = np.empty(len(nodes), np.intp)
    place[chosen] = np.arange(len(nodes))
    starts = np.searchsorted(ends, np.arange(len(nodes) + 1))
    free = np.ones(len(nodes), np.bool_)
    centre = np.zeros(len(nodes), np.bool_)
    for at in chosen.tolist():
        if free[at]:
            centre[at] = True
            free[others[starts[at] : starts[at + 1]]] = False
    spoke = np.flatnonzero(centre[others] & ~centre[ends])
    spoke = spoke[np.lexsort((place[others[spoke]], apart[spoke], ends[spoke]))]
    first = spoke[np.flatnonzero(np.diff(ends[spoke], prepend=-1))]
    labels = np.arange(len(nodes))
    labels[ends[first]] = others[first]
    return nodes.joined_by(labels)


RULES: Mapping[Linkage, Callable[[RowPairs], list[RowGroup]]] = {
    "connected": connected,
    "complete": complete,
    "star": star,
}


def diameter(vectors: Vectors, rows: Rows) -> float:
    """Return the largest exact distance of two of the rows, 0 for fewer than two."""
    if len(rows) == 0:
        return 0.0
    stored = vectors.take(rows)
    # A thousand copies are one vector. (np.unique over rows takes ten milliseconds, however few.)
    distinct = {vector.tobytes(): at for at, vector in enumerate(stored)}
    stored = stored[list(distinct.values())]
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


class _Nodes:
    """Rows at distance 0 as one node each, and the pairs of nodes, nearest first.

    Parameters
    ----------
    found : RowPairs

    Attributes
    ----------
    rows : (n,) intp, ascending
    node : (n,) intp
        Of each row; nodes are numbered by their first row.
    counts : (nodes,) intp
        Rows of each node.
    one, other : (m,) intp
        Nodes of each pair, one < other, each pair once, by (distance, one, other).
    apart : (m,) float64
    """

    def __init__(self, found: RowPairs) -> None:
        present = np.zeros(found.other.max(initial=-1) + 1, np.bool_)
        present[found.one] = present[found.other] = True
        self.rows = np.flatnonzero(present)
        place = np.cumsum(present) - 1
        one, other = place[found.one], place[found.other]
        copy = found.distances == 0.0
        heads, _ = _spanned(len(self.rows), _listed(one[copy], other[copy], found.distances[copy]))
        self.node = np.unique(heads, return_inverse=True)[1].astype(np.intp)
        self.counts = np.bincount(self.node)
        ends = np.sort([self.node[one[~copy]], self.node[other[~copy]]], axis=0)
        apart = found.distances[~copy]
        keys = ends[0] * len(self) + ends[1]
        order = np.lexsort((keys, apart))
        if copy.any():  # of all pairs between copies of two pictures the first will do
            order = order[np.sort(np.unique(keys[order], return_index=True)[1])]
        (self.one, self.other), self.apart = ends[:, order], apart[order]

    def __len__(self) -> int:
        return len(self.counts)

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """Yield (one, other, distance), nearest first."""
        return _listed(self.one, self.other, self.apart)

    def both_ways(self) -> tuple[Rows, Rows, npt.NDArray[np.float64]]:
        """Return the pairs from each end to the other, by end, then nearest first."""
        ends = np.stack([self.one, self.other], axis=1).ravel()
        others = np.stack([self.other, self.one], axis=1).ravel()
        order = np.argsort(ends, kind="stable")
        return ends[order], others[order], self.apart[order // 2]

    def joined_by(self, label: Rows) -> list[RowGroup]:
        """Return the groups of nodes of one label, each connected by pairs inside it."""
        return self.joined(label[self.one] == label[self.other])

    def joined(self, inside: Flags) -> list[RowGroup]:
        """Return what the pairs that are `inside` groups connect, by first row."""
        listed = _listed(self.one[inside], self.other[inside], self.apart[inside])
        heads, weakest = _spanned(len(self), listed)
        of_row = heads[self.node]
        order = np.argsort(of_row, kind="stable")  # heads are the first nodes, and rows ascend
        parts = np.split(order, np.flatnonzero(np.diff(of_row[order])) + 1)
        return [
            RowGroup(self.rows[part], float(weakest[of_row[part[0]]]))
            for part in parts
            if len(part) > 1
        ]


def _listed(
    one: Rows, other: Rows, apart: npt.NDArray[np.float64]
) -> Iterator[tuple[int, int, float]]:
    """Yield pairs as Python numbers."""
    for start in range(0, len(one), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield from zip(one[part].tolist(), other[part].tolist(), apart[part].tolist(), strict=True)


def _spanned(
    count: int, pairs: Iterable[tuple[int, int, float]]
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Return the first node of each node's component, and of that one the weakest link.

    Kruskal (1956): `pairs` come nearest first, so the last one to join a component is its weakest.
    """
    parent = list(range(count))
    weakest = np.zeros(count)
    for a, b, apart in pairs:
        if parent[a] == parent[b]:  # most of them, and quickly told
            continue
        one, other = _find(parent, a), _find(parent, b)
        if one != other:
            low = min(one, other)
            parent[max(one, other)] = low
            weakest[low] = apart
    return np.array([_find(parent, at) for at in range(count)], np.intp), weakest


def _find(parent: list[int], at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = parent[at]
    return at
