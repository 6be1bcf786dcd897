"""annidx.search.planner: the choice of an engine, in a table."""

from __future__ import annotations

from typing import Any

import pytest

from annidx.descriptors import GRAY8, SIGNATURE, THUMB, Descriptor
from annidx.search.planner import WIDE, Request, plan

N = 100_000
ONE: dict[str, Any] = {"kind": "query", "queries": 1, "k": 10, "cutoff": None, "loaded": False}
PAIRS: dict[str, Any] = {"kind": "pairs", "k": None, "loaded": False}
GRAPH = {"graph": N, "loaded": True}


def request(metric: Descriptor, options: dict[str, Any]) -> Request:
    pictures = options.get("pictures", N)
    queries = pictures if options.get("kind") == "pairs" else 1
    cutoff = metric.cutoff * options.get("times", 1.0)
    given = {"pictures": pictures, "graph": 0, **ONE, "queries": queries, "cutoff": cutoff}
    return Request(**{**given, **{name: options[name] for name in options if name != "times"}})


@pytest.mark.parametrize(
    ("metric", "options", "engine"),
    [
        # one picture: by the graph when there is one and loading it is not dearer than a scan
        (THUMB, {"graph": 0}, "exact"),
        (THUMB, {"graph": N}, "graph"),
        (THUMB, GRAPH, "graph"),
        (GRAY8, GRAPH, "graph"),
        (SIGNATURE, GRAPH, "graph"),
        (SIGNATURE, {"graph": N}, "exact"),  # bit by bit, a scan is quicker than loading
        (SIGNATURE, {"graph": N, "queries": 1000}, "graph"),
        (THUMB, {"graph": 50, "pictures": 50}, "graph"),
        (THUMB, {"graph": N, "pictures": 40}, "exact"),  # a filter left few
        (THUMB, {**GRAPH, "pictures": 40, "queries": 100}, "exact"),
        # without k and far beyond the default cutoff a graph cannot be sure
        (THUMB, {**GRAPH, "times": 10.0}, "graph"),
        (THUMB, {**GRAPH, "k": None}, "graph"),
        (THUMB, {**GRAPH, "k": None, "times": WIDE + 1}, "exact"),
        # all pairs: thumbs are joined; signatures are, until there are too many of them
        (THUMB, {**PAIRS, **GRAPH}, "exact"),
        (THUMB, {**PAIRS, "graph": 10**6, "pictures": 10**6}, "exact"),
        (SIGNATURE, {**PAIRS, "graph": 20_000, "pictures": 20_000}, "exact"),
        (SIGNATURE, {**PAIRS, "graph": 10**6, "pictures": 10**6}, "graph"),
        (SIGNATURE, {**PAIRS, "graph": 0, "pictures": 10**6}, "exact"),
        # few new ones against the rest: by the graph
        (THUMB, {**PAIRS, "graph": 10**6, "pictures": 10**6, "queries": 1000}, "graph"),
        (THUMB, {**PAIRS, "graph": 0, "pictures": 10**6, "queries": 1000}, "exact"),
    ],
)
def test_the_cheaper_engine(metric: Descriptor, options: dict[str, Any], engine: str) -> None:
    chosen = plan(metric, request(metric, options))
    assert chosen.engine == engine
    assert chosen.cost_s > 0
    assert chosen.reason


@pytest.mark.parametrize("kind", [ONE, PAIRS])
def test_what_is_asked_for_is_done(kind: dict[str, Any]) -> None:
    for options in {**kind, **GRAPH}, {**kind, **GRAPH, "pictures": 50}:
        asked = request(THUMB, options)
        assert plan(THUMB, asked, "graph").engine == "graph"
        assert plan(THUMB, asked, "exact").engine == "exact"


def test_costs_grow_with_what_is_to_be_done() -> None:
    def cost(metric: Descriptor = THUMB, **options: Any) -> float:
        return plan(metric, request(metric, options)).cost_s

    assert cost(queries=50) < 50 * cost()
    assert cost(SIGNATURE, queries=2) == pytest.approx(2 * cost(SIGNATURE))
    assert cost(pictures=50_000) == pytest.approx(0.5 * cost())
    assert cost(graph=N, loaded=True, queries=10) == pytest.approx(10 * cost(graph=N, loaded=True))
    for metric in THUMB, SIGNATURE:
        costs = [cost(metric, **PAIRS, pictures=n) for n in (0, 1, 20_000, N, 10**6)]
        assert costs == sorted(costs)
    assert cost(**PAIRS, times=0.1) < cost(**PAIRS) < cost(**PAIRS, times=2.0)
    assert cost(**{**PAIRS, "queries": 100}) < 0.6 * cost(**PAIRS)  # all are projected
