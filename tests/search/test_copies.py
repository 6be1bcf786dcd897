"""FINDINGS.md's trap at full size: ten thousand copies in one graph with everybody else."""

from __future__ import annotations

import numpy as np

from annidx.descriptors import THUMB
from annidx.search import exact
from annidx.search.graph import build
from annidx.search.query import Placed, graph_search
from annidx.search.vectors import Rows
from tests.making import copies, thumbs, vectors


def test_ten_thousand_copies_take_no_neighbour_from_the_others() -> None:
    """5,000 identical and 5,000 noisy copies of a picture, shuffled among 15,000 others.

    3,000 of the others have a near-copy among them. Without one node for all equal vectors, or
    without leaders, nearly all of them are lost.
    """
    picture, single = thumbs(1, 1), thumbs(12_000, 2)
    noisy = copies(THUMB, np.repeat(picture, 5000, axis=0), 3, change=1.5)
    near = copies(THUMB, single[:3000], 4)
    together = np.concatenate([np.repeat(picture, 5000, axis=0), noisy, single, near])
    order = np.random.default_rng(5).permutation(len(together))
    place = np.argsort(order)  # of each vector as it was made
    archive = vectors(THUMB, together[order], cuts=[9000])
    graph, share = build(archive, np.arange(25_000), threads=2)
    assert share == 1.0
    assert graph.nodes < 15_100

    def found(asked: Rows) -> list[list[int]]:
        queries = archive.take(asked)
        answer = graph_search(archive, [Placed(graph, 0)], None, queries, cutoff=300.0, k=None)
        truth = exact.search(archive, queries, cutoff=300.0, k=None)
        assert answer.fell_through <= {0}
        for got, expected in zip(answer.hits, truth, strict=True):
            assert np.array_equal(got.rows, expected.rows)
        return [hits.rows.tolist() for hits in answer.hits]

    with_copy = place[10_000:13_000:7]
    assert {len(each) for each in found(with_copy)} == {2}
    assert {len(each) for each in found(place[13_000:22_000:60])} == {1}
    assert [len(each) for each in found(place[:1])] == [10_000]
