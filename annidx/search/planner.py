"""Which engine answers, at what predicted cost: a pure function.

The constants were measured on 2 shared cores (AMD Zen 4, November 2026).
"""

from __future__ import annotations

from typing import Literal

from annidx.descriptors import Descriptor
from annidx.model import Plan

Request = Literal["query", "whole set"]

GRAPH_QUERY_S = 4e-4
"""One query of a loaded graph at 100,000 vectors, re-ranking included; grows with log n."""
SCAN_VALUE_S = 1.2e-9
"""One value of one vector compared with one query."""
JOIN_EUCLIDEAN_S = 1.6e-5
"""One vector of a pruned self-join (1.6 CPU s for 100,000 thumbs at 300)."""
JOIN_UNIT_S = 2.5e-11
"""One value of one pair of an unpruned self-join."""


def plan(
    descriptor: Descriptor,
    *,
    pictures: int,
    request: Request,
    queries: int = 1,
    graph: bool,
    exact: bool = False,
) -> Plan:
    """Choose the engine for a request.

    Parameters
    ----------
    descriptor : Descriptor
        Of the metric.
    pictures : int
        Live pictures.
    request : {'query', 'whole set'}
    queries : int
        How many are asked at once.
    graph : bool
        True when a usable graph of this metric exists.
    exact : bool
        True when the user asked for the exact engine.
    """
    scan_s = queries * pictures * descriptor.dimension * SCAN_VALUE_S
    if request == "whole set":
        # Asking a graph for every picture costs more than the pruned join at every size measured.
        return Plan("exact", _join_cost_s(descriptor, pictures), "the whole set is joined exactly")
    if exact:
        return Plan("exact", scan_s, "exact was asked for")
    if not graph:
        return Plan("exact", scan_s, f"no usable graph for {descriptor.name}")
    return Plan("graph", queries * GRAPH_QUERY_S, f"a graph for {descriptor.name} is there")


def _join_cost_s(descriptor: Descriptor, pictures: int) -> float:
    if descriptor.distance == "euclidean":
        return pictures * JOIN_EUCLIDEAN_S
    return pictures * pictures / 2 * descriptor.dimension * JOIN_UNIT_S
