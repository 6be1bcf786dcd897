"""Which engine answers, at what predicted cost: a pure function.

The constants are CPU seconds, measured by ``scripts/calibrate.py`` on 2 shared cores (Xeon,
November 2026). Another machine is faster or slower at all of them alike, so that the choice stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from annidx.descriptors import Descriptor
from annidx.model import Choice, Plan

Kind = Literal["query", "pairs"]

GRAPH_QUERY_S = 5e-4
"""One query of a loaded graph at 100,000 vectors, re-ranking included; it grows with log n."""
GRAPH_LOAD_S = 1.2e-6
"""Hashing and loading a graph, for each of its vectors."""
SCAN_VALUE_S = {"euclidean": 1.7e-9, "normalised": 1.6e-8}
"""One value of one vector brought into the form in which it is compared."""
PRODUCT_VALUE_S = 5e-11
"""One value of one vector multiplied with one query's."""
BITS_VALUE_S = 1.2e-9
"""One value of one packed signature compared with one query's, bit by bit."""
JOIN_PROJECT_S = 1e-5
"""One vector of a join: projected, put into a box."""
JOIN_PAIR_S = {"euclidean": 2e-10, "normalised": 4.4e-9}
"""One pair of vectors of a join at the default cutoff. Boxes spare a join of thumbs most of them;
the larger the archive the larger the share, by the power SPARED of its size."""
SPARED = {"euclidean": 0.5, "normalised": 0.0}
MARGIN_S = 0.01
"""A graph answers a query unless a scan is so much cheaper: so small archives are no exception."""
WIDE = 3.0
"""From so many times the default cutoff on, a query without k finds more pictures than a graph is
asked for, and is answered by a scan."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a search is about.

    Attributes
    ----------
    kind : {'query', 'pairs'}
        A query looks for what is near to vectors that are given, pairs for what is near to each
        other among `pictures`.
    pictures : int
        That may be found.
    queries : int
        Vectors that are asked about; of pairs, the pictures of the smaller side.
    cutoff : float
        Inclusive.
    k : int or None
    graph : int
        Vectors of the usable graphs of the metric, 0 without any.
    loaded : bool
        True when these are in memory.
    """

    kind: Kind
    pictures: int
    queries: int
    cutoff: float
    k: int | None
    graph: int
    loaded: bool = False


def plan(descriptor: Descriptor, request: Request, choice: Choice = "auto") -> Plan:
    """Choose the engine for a request: what was asked for, else the cheaper one.

    Parameters
    ----------
    descriptor : Descriptor
        Of the metric.
    request : Request
    choice : {'auto', 'graph', 'exact'}
        'graph' needs a graph.
    """
    exact_s = _exact_s(descriptor, request)
    if choice == "exact":
        return Plan("exact", exact_s, "exact was asked for")
    if not request.graph:
        return Plan("exact", exact_s, f"no usable graph for {descriptor.name}")
    graph_s = _graph_s(request)
    if choice == "graph":
        return Plan("graph", graph_s, "graph was asked for")
    if request.k is None and request.cutoff > WIDE * descriptor.cutoff:
        return Plan("exact", exact_s, f"more lies within {request.cutoff:g} than a graph proposes")
    if graph_s <= exact_s + (MARGIN_S if request.kind == "query" else 0.0):
        return Plan("graph", graph_s, f"a scan would take {exact_s:.2g} s")
    return Plan("exact", exact_s, f"a graph for {descriptor.name} would take {graph_s:.2g} s")


def _graph_s(request: Request) -> float:
    load_s = 0.0 if request.loaded else request.graph * GRAPH_LOAD_S
    return load_s + request.queries * GRAPH_QUERY_S * math.log(request.graph + 2, 100_000)


def _exact_s(descriptor: Descriptor, request: Request) -> float:
    if request.kind == "pairs":
        return _join_s(descriptor, request)
    values = request.pictures * descriptor.dimension
    products_s = values * (SCAN_VALUE_S[descriptor.distance] + request.queries * PRODUCT_VALUE_S)
    if descriptor.distance == "euclidean":
        return products_s
    return min(products_s, values * request.queries * BITS_VALUE_S)


def _join_s(descriptor: Descriptor, request: Request) -> float:
    n = max(request.pictures, 1)
    tried = request.queries * (n - request.queries / 2) * JOIN_PAIR_S[descriptor.distance]
    wider = max(0.3, request.cutoff / descriptor.cutoff) if SPARED[descriptor.distance] else 1.0
    spared = math.pow(n / 100_000, -SPARED[descriptor.distance])
    return n * JOIN_PROJECT_S + tried * wider * spared
