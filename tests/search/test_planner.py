"""annidx.search.planner: the choice of an engine, in a table."""

from __future__ import annotations

from typing import Any

import pytest

from annidx.descriptors import GRAY8, GRAY20, SIGNATURE, THUMB, Descriptor
from annidx.search.planner import plan


@pytest.mark.parametrize(
    ("metric", "options", "engine", "reason"),
    [
        (THUMB, {"graph": True}, "graph", "a graph for thumb is there"),
        (THUMB, {"graph": False}, "exact", "no usable graph for thumb"),
        (SIGNATURE, {"graph": False}, "exact", "no usable graph for signature"),
        (SIGNATURE, {"graph": True}, "graph", "a graph for signature is there"),
        (THUMB, {"graph": True, "exact": True}, "exact", "exact was asked for"),
        (THUMB, {"graph": True, "request": "whole set"}, "exact", "the whole set is joined"),
        (SIGNATURE, {"graph": False, "request": "whole set"}, "exact", "the whole set is joined"),
        (GRAY8, {"graph": False}, "exact", "no usable graph for gray8"),
        (GRAY8, {"graph": True}, "graph", "a graph for gray8 is there"),
        (GRAY20, {"graph": False, "request": "whole set"}, "exact", "the whole set is joined"),
    ],
)
def test_the_engine(metric: Descriptor, options: dict[str, Any], engine: str, reason: str) -> None:
    chosen = plan(metric, pictures=100_000, **{"request": "query", **options})
    assert chosen.engine == engine
    assert reason in chosen.reason
    assert chosen.cost_s > 0


def test_costs_grow_with_what_is_to_be_done() -> None:
    def cost(**options: Any) -> float:
        return plan(
            THUMB, **{"pictures": 1000, "request": "query", "graph": False, **options}
        ).cost_s

    assert cost(queries=50) == pytest.approx(50 * cost())
    assert cost(pictures=50_000) == pytest.approx(50 * cost())
    assert cost(pictures=10**6, graph=True) < cost(pictures=10**6)
    assert cost(request="whole set", pictures=20_000) == pytest.approx(0.3, rel=0.5)  # measured
