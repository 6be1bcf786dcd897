"""annidx.search.query: the graph's answers against those of the exact engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from annidx.descriptors import THUMB, Descriptor
from annidx.search import exact, leaders
from annidx.search import graph as graphs
from annidx.search.exact import Hits
from annidx.search.graph import Graph
from annidx.search.query import FETCHES, GraphAnswer, Placed, Tail, graph_search
from annidx.search.vectors import Rows, Stored, Vectors
from tests.making import copies, thumbs, vectors
from tests.search.spreads import METRICS, load, mixture, name_of, save, spread

CUTOFF = 300.0
CLUSTERS = {"small": range(60), "middle": range(60, 260), "large": range(260, 960)}


class Archive:
    """3,000 thumbs: three clusters of near-copies, pairs of near and exact copies, the rest."""

    def __init__(self) -> None:
        centres = thumbs(3, 1)
        sizes = [len(rows) for rows in CLUSTERS.values()]
        clusters = copies(THUMB, np.repeat(centres, sizes, axis=0), 2)
        single = thumbs(1640, 3)
        near = copies(THUMB, single[:200], 4)
        equal = single[200:400]
        self.stored = np.concatenate([clusters, single, near, equal])
        self.vectors = vectors(THUMB, self.stored, cuts=[700, 2000])
        self.graph, self.share = graphs.build(self.vectors, np.arange(len(self.stored)), threads=2)
        self.placed = [Placed(self.graph, 0)]
        self.cut = cache(self._cut)

    def _cut(self, cuts: tuple[int, ...]) -> list[Placed]:
        """Return a graph of each range of rows."""
        placed = []
        for first, stop in pairwise((0, *cuts)):
            graph, _ = graphs.build(self.vectors, np.arange(first, stop), first=first, threads=2)
            placed.append(Placed(graph, first))
        return placed


@pytest.fixture(scope="module")
def archive() -> Archive:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(leaders, "DENSE", 10_000)  # else one node would stand for each cluster
        made = Archive()
    assert len(made.stored) == 3000
    assert made.share >= graphs.SELF_TARGET
    return made


def ask(
    archive: Archive, queries: Stored, *, cutoff: float = CUTOFF, k: int | None = None
) -> tuple[GraphAnswer, list[Hits]]:
    """Ask the graph and the exact engine."""
    answer = graph_search(archive.vectors, archive.placed, None, queries, cutoff=cutoff, k=k)
    return answer, exact.search(archive.vectors, queries, cutoff=cutoff, k=k)


def recall(found: Sequence[Hits], truth: Sequence[Hits]) -> float:
    """Return the share of the true hits that were found; found ones must be true."""
    total = right = 0
    for got, expected in zip(found, truth, strict=True):
        assert set(got.rows) <= set(expected.rows)
        total += len(expected.rows)
        right += len(np.intersect1d(got.rows, expected.rows))
    return right / total


@pytest.mark.parametrize("k", [None, 1, 10])
def test_recall(archive: Archive, k: int | None) -> None:
    queries = archive.stored[::11]
    answer, truth = ask(archive, queries, k=k)
    assert recall(answer.hits, truth) >= 0.999
    same = [got.complete == want.complete for got, want in zip(answer.hits, truth, strict=True)]
    assert np.mean(same) >= 0.999


@pytest.mark.parametrize("metric", METRICS, ids=name_of)
@pytest.mark.parametrize("k", [None, 3])
def test_recall_of_any_metric(metric: Descriptor, k: int | None) -> None:
    stored = mixture(metric, 500, 4)
    some = vectors(metric, stored, cuts=[100, 350])
    graph, _ = graphs.build(some, np.arange(350), threads=2)
    queries = np.concatenate([stored[::9], spread(metric, 5, 77)])
    for cutoff in (0.0, metric.cutoff, 2 * metric.cutoff):
        truth = exact.search(some, queries, cutoff=cutoff, k=k)
        rest = np.arange(350, 500)
        tail = Tail.of(some, rest, graph.projection)
        answer = graph_search(some, [Placed(graph, 0)], tail, queries, cutoff=cutoff, k=k)
        assert recall(answer.hits, truth) >= 0.999


def test_strangers_find_nothing(archive: Archive) -> None:
    answer, truth = ask(archive, thumbs(50, 99))
    assert [len(hits.rows) for hits in answer.hits] == [len(hits.rows) for hits in truth]
    assert answer.fell_through == frozenset()


class Noted:
    """Notes how many candidates are asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[int] = []
        nearest = Graph.nearest

        def noted(
            graph: Graph, point: npt.NDArray[np.float32], count: int
        ) -> tuple[Rows, npt.NDArray[np.float32]]:
            self.asked.append(count)
            return nearest(graph, point, count)

        monkeypatch.setattr(Graph, "nearest", noted)


@pytest.mark.parametrize(
    ("row", "k", "asked", "found"),
    [
        (2000, None, [32], 1),  # nobody near
        (CLUSTERS["small"][7], None, [32, 128], 60),
        (CLUSTERS["middle"][7], None, [32, 128, 512], 200),
        (CLUSTERS["large"][7], None, [32, 128, 512], 700),
    ],
)
def test_candidates_grow_until_nothing_can_be_missed(
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    row: int,
    k: int | None,
    asked: list[int],
    found: int,
) -> None:
    noted = Noted(monkeypatch)
    answer, truth = ask(archive, archive.stored[row : row + 1], k=k)
    assert noted.asked == asked
    assert len(answer.hits[0].rows) == found
    assert answer.hits[0].rows.tolist() == truth[0].rows.tolist()
    assert answer.hits[0].complete
    # More than the last fetch within the cutoff: only the exact engine is sure.
    assert answer.fell_through == (frozenset({0}) if found > FETCHES[-1] else frozenset())


def test_what_the_projection_hides(archive: Archive) -> None:
    """Forty grainy pictures seem nearest, are too far away, and come before the one that counts."""
    picture = np.clip(archive.stored[2000:2001], 40, 215)
    grainy = copies(THUMB, np.repeat(picture, 40, axis=0), 5, change=10.0)
    stored = np.concatenate([thumbs(300, 6), picture, grainy, picture + np.uint8(8)])
    some = vectors(THUMB, stored)
    graph, _ = graphs.build(some, np.arange(len(stored)), threads=1)
    proposed = graph.rows_of(graph.nearest(graph.project(some, picture)[0], FETCHES[0])[0])
    assert 341 not in proposed
    (hits,) = graph_search(some, [Placed(graph, 0)], None, picture, cutoff=CUTOFF, k=None).hits
    assert hits.rows.tolist() == [300, 341]
    assert hits.distances[1] == pytest.approx(8 * np.sqrt(1200))


def test_only_unsure_queries_go_to_the_exact_engine(archive: Archive) -> None:
    rows = [2000, CLUSTERS["large"][3], 2001, CLUSTERS["large"][4], CLUSTERS["small"][0]]
    answer, truth = ask(archive, archive.stored[rows])
    assert answer.fell_through == {1, 3}
    assert [hits.rows.tolist() for hits in answer.hits] == [hits.rows.tolist() for hits in truth]


def test_k_spares_the_growth(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten of a cluster of 700: the answer is cut, and says so, in one of the smaller fetches."""
    noted = Noted(monkeypatch)
    row = CLUSTERS["large"][7]
    answer, truth = ask(archive, archive.stored[row : row + 1], k=10)
    assert not answer.hits[0].complete
    assert answer.hits[0].rows.tolist() == truth[0].rows.tolist()
    assert len(noted.asked) <= 3


def test_exact_copies_come_together(archive: Archive) -> None:
    row = 960 + 250
    answer, _ = ask(archive, archive.stored[row : row + 1], cutoff=0.0)
    assert answer.hits[0].rows.tolist() == [row, 2800 + 50]
    assert answer.hits[0].distances.tolist() == [0.0, 0.0]


def test_a_pair_at_exactly_the_cutoff(archive: Archive) -> None:
    row = 960 + 17
    (hits,) = ask(archive, archive.stored[row : row + 1])[0].hits
    apart = hits.distances[-1]
    assert apart > 0
    assert len(ask(archive, archive.stored[row : row + 1], cutoff=apart)[0].hits[0].rows) == 2
    less = np.nextafter(apart, 0)
    assert len(ask(archive, archive.stored[row : row + 1], cutoff=less)[0].hits[0].rows) == 1


def test_answers_survive_saving_and_loading(archive: Archive, tmp_path: Path) -> None:
    save(archive.graph, tmp_path / "g.hnsw")
    loaded = load(tmp_path / "g.hnsw", archive.graph.sidecar({}), "g.json")
    queries = archive.stored[::50]
    before, after = (
        graph_search(archive.vectors, [Placed(graph, 0)], None, queries, cutoff=CUTOFF, k=5).hits
        for graph in (archive.graph, loaded)
    )
    assert [hits.rows.tolist() for hits in before] == [hits.rows.tolist() for hits in after]


def test_removed_rows_are_filtered_out(archive: Archive) -> None:
    live = np.ones(3000, np.bool_)
    live[list(CLUSTERS["small"])[10:]] = False
    less = Vectors(THUMB, archive.vectors.parts, live)
    answer = graph_search(less, archive.placed, None, archive.stored[:1], cutoff=CUTOFF, k=None)
    assert answer.hits[0].rows.tolist()[0] == 0
    assert sorted(answer.hits[0].rows.tolist()) == list(range(10))
    assert answer.hits[0].complete


@pytest.mark.parametrize("k", [None, 1, 2, 3, 60, 61])
@pytest.mark.parametrize("cuts", [(1000, 3000), (300, 1500, 2990, 3000), (500, 2000)])
def test_several_graphs_and_what_none_covers(
    archive: Archive, cuts: Sequence[int], k: int | None
) -> None:
    """Clusters and copies are torn apart between the graphs: the answers stay the same."""
    placed = archive.cut(tuple(cuts))
    queries = np.concatenate([archive.stored[::60], thumbs(3, 98)])
    rest = np.arange(cuts[-1], 3000)
    tail = Tail.of(archive.vectors, rest, placed[0].graph.projection)
    answer = graph_search(archive.vectors, placed, tail, queries, cutoff=CUTOFF, k=k)
    truth = exact.search(archive.vectors, queries, cutoff=CUTOFF, k=k)
    assert recall(answer.hits, truth) >= 0.999
    same = [got.complete == want.complete for got, want in zip(answer.hits, truth, strict=True)]
    assert np.mean(same) >= 0.98


@pytest.mark.parametrize("k", [None, 1, 2, 3, 60, 61])
def test_uncovered_rows_are_scanned_and_merged(archive: Archive, k: int | None) -> None:
    """Two new pictures since the graph was made: a near-copy and an exact copy of row 0."""
    fresh = np.concatenate([copies(THUMB, archive.stored[:1], 9), archive.stored[:1], thumbs(1, 9)])
    more = Vectors(THUMB, [*archive.vectors.parts, fresh], np.ones(3003, np.bool_))
    queries = archive.stored[[0, CLUSTERS["large"][0], 2000]]
    tail = Tail.of(more, np.arange(3000, 3003), archive.placed[0].graph.projection)
    answer = graph_search(more, archive.placed, tail, queries, cutoff=CUTOFF, k=k)
    truth = exact.search(more, queries, cutoff=CUTOFF, k=k)
    for got, expected in zip(answer.hits, truth, strict=True):
        assert got.rows.tolist() == expected.rows.tolist()
        assert got.complete == expected.complete
    assert 3001 in answer.hits[0].rows


def test_a_thousand_copies_wreck_nothing() -> None:
    """1,000 copies of one picture, inserted first, among 300 others with a near-copy each."""
    picture, others = thumbs(1, 1), thumbs(300, 2)
    stored = np.concatenate([np.repeat(picture, 1000, axis=0), others, copies(THUMB, others, 3)])
    archive = vectors(THUMB, stored)
    graph, share = graphs.build(archive, np.arange(1600), threads=2)
    assert (graph.nodes, share) == (601, 1.0)
    answer = graph_search(archive, [Placed(graph, 0)], None, others, cutoff=CUTOFF, k=None)
    for at, hits in enumerate(answer.hits):
        assert {1000 + at, 1300 + at} <= set(hits.rows)
        assert hits.rows[0] == 1000 + at
    whole = graph_search(archive, [Placed(graph, 0)], None, picture, cutoff=CUTOFF, k=None).hits[0]
    assert whole.rows.tolist() == list(range(1000))
    assert whole.complete
    cut = graph_search(archive, [Placed(graph, 0)], None, picture, cutoff=CUTOFF, k=10).hits[0]
    assert cut.rows.tolist() == list(range(1000))  # all at the distance of the tenth
    assert not cut.complete


@pytest.mark.parametrize("count", [1, 2])
def test_an_archive_of_one_or_two(count: int) -> None:
    archive = vectors(THUMB, thumbs(count, 1))
    graph, _ = graphs.build(archive, np.arange(count), threads=1)
    placed = [Placed(graph, 0)]
    answer = graph_search(archive, placed, None, thumbs(count, 1), cutoff=CUTOFF, k=None)
    assert [hits.rows.tolist() for hits in answer.hits] == [[row] for row in range(count)]
    everything = graph_search(
        archive, [Placed(graph, 0)], None, thumbs(1, 1), cutoff=THUMB.largest, k=None
    ).hits[0]
    assert sorted(everything.rows.tolist()) == list(range(count))


def test_no_queries(archive: Archive) -> None:
    answer = graph_search(
        archive.vectors, archive.placed, None, archive.stored[:0], cutoff=CUTOFF, k=None
    )
    assert answer == GraphAnswer([], frozenset())
