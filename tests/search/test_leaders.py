"""annidx.search.leaders: one for many near-equal points, and nothing where there are few."""

from __future__ import annotations

import numpy as np
import pytest

from annidx.descriptors import THUMB
from annidx.search import exact
from annidx.search.graph import build
from annidx.search.leaders import DENSE, leaders
from annidx.search.query import Placed, graph_search
from annidx.search.vectors import Points
from tests.making import thumbs, vectors


def cluster(count: int, seed: int, spread: float = 1.0) -> Points:
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=8) * 1000
    return np.asarray(middle + rng.normal(size=(count, 8)) * spread, np.float32)


def test_nobody_lies_further_than_the_radius_and_leaders_lead_themselves() -> None:
    points = np.concatenate([cluster(300, 1), cluster(900, 2), cluster(5, 3), cluster(200, 4, 50)])
    stands = leaders(points, 10.0)
    assert np.linalg.norm(points - points[stands], axis=1).max() <= 10.001
    assert (stands[stands] == stands).all()
    assert len(np.unique(stands[:1200])) < 30
    assert (stands[1200:1205] == np.arange(1200, 1205)).all()


@pytest.mark.parametrize(("count", "left"), [(DENSE - 1, DENSE - 1), (DENSE, 1)])
def test_few_are_left_alone(count: int, left: int) -> None:
    assert len(np.unique(leaders(cluster(count, 5, 0.1), 10.0))) == left


def test_no_radius_no_leaders() -> None:
    assert leaders(cluster(100, 6), 0.0).tolist() == list(range(100))


def test_copies_and_near_copies_take_no_neighbour_from_the_others() -> None:
    """FINDINGS.md's trap, at a size for every day: without any remedy the others are lost."""
    others = thumbs(1500, 7)
    rng = np.random.default_rng(8)
    noise = rng.integers(-2, 3, (1000, THUMB.width))
    noisy = np.clip(others[:1].astype(int) + noise, 0, 255).astype(np.uint8)
    archive = vectors(THUMB, np.concatenate([np.repeat(others[:1], 1000, axis=0), noisy, others]))
    built, share = build(archive, np.arange(len(archive)), threads=2)
    assert share == 1.0
    assert built.nodes < 1600
    assert built.radius > 0
    asked = archive.take(np.arange(0, len(archive), 7))
    truth = exact.search(archive, asked, cutoff=900.0, k=10)
    answer = graph_search(archive, [Placed(built, 0)], None, asked, cutoff=900.0, k=10)
    assert len(answer.fell_through) < len(asked) / 20
    for expected, got in zip(truth, answer.hits, strict=True):
        assert np.array_equal(expected.rows, got.rows)
        assert expected.complete == got.complete
