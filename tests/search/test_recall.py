"""annidx.search.recall: the certificate says what was missed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from annidx.descriptors import THUMB, Descriptor
from annidx.search import graph as graphs
from annidx.search import recall
from annidx.search.graph import Graph
from annidx.search.query import Placed
from annidx.search.recall import Certificate, certify, wilson
from annidx.search.vectors import Points, Rows, Vectors
from tests.making import thumbs, vectors
from tests.search.spreads import METRICS, copies, name_of, spread

Members = npt.NDArray[np.int32]

EVERYONE = np.arange(900)


@pytest.fixture(scope="module")
def archive() -> Vectors:
    """300 pictures, a near-copy and an exact copy of each."""
    stored = thumbs(300, 1)
    return vectors(THUMB, np.concatenate([stored, copies(THUMB, stored, 2), stored]))


@pytest.fixture(scope="module")
def graph(archive: Vectors) -> Placed:
    return Placed(graphs.build(archive, np.arange(900), threads=2)[0], 0)


def test_a_good_graph(archive: Vectors, graph: Placed) -> None:
    found = certify(archive, graph, EVERYONE, 300.0)
    # Every second picture is asked: originals and exact copies have one true neighbour that is not
    # equal, near-copies have two.
    assert found.pairs == found.found == 2 * 150 + 2 * 150
    assert found.recall == 1.0
    assert (found.low, found.high) == pytest.approx((0.9936, 1.0), abs=1e-4)
    assert not found.misses()


@pytest.mark.parametrize("metric", METRICS, ids=name_of)
def test_any_metric(metric: Descriptor) -> None:
    stored = spread(metric, 60, 1)
    archive = vectors(metric, np.concatenate([stored, copies(metric, stored, 2)]))
    built = Placed(graphs.build(archive, np.arange(120), threads=1)[0], 0)
    found = certify(archive, built, np.arange(120), metric.cutoff)
    assert found.pairs == found.found >= 110  # a few copies of signatures are equal
    assert found.recall == 1.0


def test_a_crippled_graph(archive: Vectors, graph: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that never proposes every fifth node, and is sure of itself."""
    nearest = Graph.nearest

    def forgetful(
        self: Graph, point: npt.NDArray[np.float32], count: int
    ) -> tuple[Rows, npt.NDArray[np.float32]]:
        nodes, squared = nearest(self, point, count + 20)
        kept = nodes % 5 > 0
        return nodes[kept][:count], squared[kept][:count]

    monkeypatch.setattr(Graph, "nearest", forgetful)
    found = certify(archive, graph, EVERYONE, 300.0)
    assert found.recall is not None
    assert found.high is not None
    assert 0.6 < found.recall < 0.9
    assert found.high < recall.TARGET
    assert found.misses()


def test_where_only_the_nearest_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 vectors near each other a graph needs to find the nearest 8 of each."""
    stored = np.concatenate([copies(THUMB, thumbs(20, 1), seed) for seed in range(40)])
    metric = replace(THUMB, nearest=8)
    every = vectors(metric, stored)
    rows = np.arange(len(stored))
    built = Placed(graphs.build(every, rows, threads=1)[0], 0)
    found = certify(every, built, rows, 300.0)
    assert found.pairs == found.found == 8 * 400
    nearest = Graph.nearest_of_each

    def forgetful(self: Graph, points: Points, count: int, threads: int) -> tuple[Rows, Members]:
        which, members = nearest(self, points, count, threads)
        return which[members % 5 > 0], members[members % 5 > 0]

    monkeypatch.setattr(Graph, "nearest_of_each", forgetful)
    assert 0.7 < (certify(every, built, rows, 300.0).recall or 0) < 0.9


def test_without_pairs_there_is_no_recall(archive: Vectors, graph: Placed) -> None:
    assert certify(archive, graph, EVERYONE, 0.0) == Certificate(0, 0, None, None, None)
    assert not certify(archive, graph, EVERYONE, 0.0).misses()


def test_removed_pictures_do_not_count(archive: Vectors, graph: Placed) -> None:
    live = np.ones(900, np.bool_)
    live[300:600] = False
    less = Vectors(THUMB, archive.parts, live)
    assert certify(less, graph, np.flatnonzero(live), 300.0).pairs == 0


def test_only_what_the_graph_covers_counts(archive: Vectors) -> None:
    """The second graph of an archive knows the near-copies and the exact ones, 300 pairs."""
    rows = np.arange(300, 900)
    second = Placed(graphs.build(archive, rows, first=300, threads=2)[0], 300)
    found = certify(archive, second, rows, 300.0, sample=1000)
    assert found.pairs == found.found == 600


@pytest.mark.parametrize(
    ("found", "of", "low", "high"),
    [  # as the literature has them
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_wilson(found: int, of: int, low: float, high: float) -> None:
    assert wilson(found, of) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("found", "missed"), [(999, False), (990, True), (1000, False)])
def test_missed_means_that_even_the_upper_end_is_too_low(found: int, missed: bool) -> None:
    low, high = wilson(found, 1000)
    assert Certificate(1000, found, found / 1000, low, high).misses() == missed
    assert not Certificate(1000, found, found / 1000, low, high).misses(0.98)
