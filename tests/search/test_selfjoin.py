"""annidx.search.selfjoin: the pruned join finds exactly what comparing every pair finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
import pytest

from annidx.descriptors import SIGNATURE, THUMB, Descriptor
from annidx.errors import UsageError
from annidx.search import selfjoin
from annidx.search.estimate import estimate_pairs
from annidx.search.selfjoin import (
    RowPairs,
    Sides,
    by_row,
    exhaustive_pairs,
    pairs,
)
from annidx.search.vectors import Vectors, distances
from tests.making import signatures, thumbs, vectors
from tests.search.spreads import METRICS, mixture, name_of, spread

Triple = tuple[int, int, float]

each_metric = pytest.mark.parametrize(
    ("metric", "cutoff"),
    [(metric, metric.cutoff) for metric in METRICS],
    ids=[metric.name for metric in METRICS],
)
each_euclidean = pytest.mark.parametrize(
    "metric", [metric for metric in METRICS if metric.distance == "euclidean"], ids=name_of
)


def triples(found: RowPairs) -> list[Triple]:
    """Return the pairs in order; each once, the lower row first."""
    assert (found.one < found.other).all()
    listed = sorted(
        zip(found.one.tolist(), found.other.tolist(), found.distances.tolist(), strict=True)
    )
    assert len({each[:2] for each in listed}) == len(listed)
    return listed


def brute_force(archive: Vectors, cutoff: float) -> list[Triple]:
    rows = np.flatnonzero(archive.live)
    listed = []
    for one, other in combinations(rows.tolist(), 2):
        stored = archive.take(np.array([one, other]))
        apart = float(distances(archive.descriptor, stored[:1], stored[1:])[0])
        if apart <= cutoff:
            listed.append((one, other, apart))
    return listed


@each_metric
def test_both_joins_against_brute_force(metric: Descriptor, cutoff: float) -> None:
    live = np.random.default_rng(5).random(120) < 0.8
    archive = vectors(metric, mixture(metric, 120, 6), live, cuts=[50])
    expected = brute_force(archive, cutoff)
    assert len(expected) > 50
    assert triples(exhaustive_pairs(archive, cutoff)) == expected
    assert triples(pairs(archive, cutoff)) == expected


@each_euclidean
@pytest.mark.parametrize("count", [50, 700])
def test_the_projection_of_larger_sets_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, metric: Descriptor, count: int
) -> None:
    monkeypatch.setattr(selfjoin, "FEW", 0)
    archive = vectors(metric, mixture(metric, count, 2))
    limits = 0.0, metric.cutoff, 5 * metric.cutoff
    for limit in limits if count == 50 else limits[1:2]:
        assert triples(pairs(archive, limit)) == triples(exhaustive_pairs(archive, limit))


@each_metric
@pytest.mark.parametrize("count", [511, 513, 1300])
def test_across_leaves(metric: Descriptor, cutoff: float, count: int) -> None:
    rng = np.random.default_rng(count)
    archive = vectors(metric, mixture(metric, count, count), rng.random(count) < 0.9, cuts=[200])
    found = triples(pairs(archive, cutoff))
    assert found == triples(exhaustive_pairs(archive, cutoff))
    assert len(found) > count
    rows = np.unique([each[:2] for each in found])
    assert archive.live[rows].all()


@each_metric
@pytest.mark.parametrize("width", [0.0, 0.2, 3.0])
def test_narrow_and_wide(
    metric: Descriptor, cutoff: float, width: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selfjoin, "LEAF", 32)
    archive = vectors(metric, mixture(metric, 250, 7))
    limit = cutoff * width
    assert triples(pairs(archive, limit)) == triples(exhaustive_pairs(archive, limit))


@each_metric
@pytest.mark.parametrize("count", [40, 1300])
def test_two_sides(metric: Descriptor, cutoff: float, count: int) -> None:
    rng = np.random.default_rng(count)
    archive = vectors(metric, mixture(metric, count, 3), rng.random(count) < 0.9, cuts=[20])
    everyone = exhaustive_pairs(archive, cutoff)
    for shares in (0.2, 0.3), (0.5, 1.0), (0.0, 1.0):
        one, other = (rng.random(count) < share for share in shares)
        for sides in Sides(one, other), Sides(other, one), Sides(other & ~one, one):
            expected = triples(everyone.where(sides.of(everyone)))
            assert triples(pairs(archive, cutoff, sides)) == expected
    assert len(expected) < len(everyone)


@each_metric
def test_a_cutoff_beyond_everything_gives_all_pairs(metric: Descriptor, cutoff: float) -> None:
    archive = vectors(metric, mixture(metric, 90, 8))
    assert len(triples(pairs(archive, metric.largest))) == 90 * 89 // 2


@each_metric
def test_a_pair_at_exactly_the_cutoff(metric: Descriptor, cutoff: float) -> None:
    archive = vectors(metric, spread(metric, 30, 9))
    for one, other, apart in brute_force(archive, metric.largest)[::40]:
        assert (one, other, apart) in triples(pairs(archive, apart))
        assert (one, other, apart) not in triples(pairs(archive, np.nextafter(apart, 0)))


@each_metric
@pytest.mark.parametrize("count", [0, 1, 2])
def test_few(metric: Descriptor, cutoff: float, count: int) -> None:
    archive = vectors(metric, np.repeat(spread(metric, 1, 1), count, axis=0))
    expected = [(0, 1, 0.0)] if count == 2 else []
    assert triples(pairs(archive, cutoff)) == expected
    assert triples(exhaustive_pairs(archive, cutoff)) == expected
    assert estimate_pairs(archive, cutoff) == (len(expected), len(expected))


@each_metric
def test_all_equal(metric: Descriptor, cutoff: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfjoin, "LEAF", 16)
    archive = vectors(metric, np.repeat(spread(metric, 1, 1), 100, axis=0))
    found = triples(pairs(archive, 0.0))
    assert len(found) == 100 * 99 // 2
    assert {apart for _, _, apart in found} == {0.0}


@pytest.mark.parametrize("few", [0, 4096])
def test_clusters_that_just_see_each_other(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Boxes with a wide gap between them that is still less than the cutoff."""
    monkeypatch.setattr(selfjoin, "FEW", few)
    monkeypatch.setattr(selfjoin, "LEAF", 10)
    centre = np.clip(thumbs(1, 1), 40, 200)
    stored = np.repeat(np.concatenate([centre, centre + np.uint8(8), centre + np.uint8(17)]), 20, 0)
    stored[np.arange(60), np.arange(60)] += 1
    archive = vectors(THUMB, stored)
    found = triples(pairs(archive, 300.0))
    assert found == triples(exhaustive_pairs(archive, 300.0))
    assert len(found) == 3 * (20 * 19 // 2) + 20 * 20  # 8 levels are 277 away, 9 are 312


@each_euclidean
@pytest.mark.parametrize("few", [0, 4096])
def test_the_darkest_and_the_brightest(
    monkeypatch: pytest.MonkeyPatch, metric: Descriptor, few: int
) -> None:
    """Where float32 has the fewest digits left: squared lengths of 2e7, distances of 0 and 1."""
    monkeypatch.setattr(selfjoin, "FEW", few)
    stored = np.repeat(np.array([[0], [255], [0], [255], [128]], np.uint8), metric.dimension, 1)
    stored = np.repeat(stored, 8, axis=0)
    for at in range(0, len(stored), 8):
        for step in range(1, 8, 2):  # every second one differs in that many values, by one
            stored[at + step, :step] ^= 1
    archive = vectors(metric, stored)
    for limit in (0.0, 1.0, float(np.sqrt(5)), 0.51 * metric.largest, metric.largest):
        assert triples(pairs(archive, limit)) == brute_force(archive, limit)
        assert triples(exhaustive_pairs(archive, limit)) == brute_force(archive, limit)


def test_empty_signatures_are_pairs_of_their_own() -> None:
    stored = signatures(60, 1)
    stored[[5, 30, 59]] = 0
    found = triples(pairs(vectors(SIGNATURE, stored), 0.0))
    assert [each[:2] for each in found] == [(5, 30), (5, 59), (30, 59)]


def test_narrow_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfjoin, "_STRIDE", 50)
    archive = vectors(THUMB, mixture(THUMB, 300, 3))
    assert triples(pairs(archive, 300.0)) == triples(exhaustive_pairs(archive, 300.0))


@each_metric
def test_the_estimate(metric: Descriptor, cutoff: float) -> None:
    archive = vectors(metric, mixture(metric, 800, 4))
    truth = len(pairs(archive, cutoff))
    assert estimate_pairs(archive, cutoff) == (truth, truth)  # all are in the sample
    expected, at_least = estimate_pairs(archive, cutoff, sample=400)
    assert truth / 2 < expected < truth * 2
    assert at_least < truth


def test_an_estimate_may_be_sure() -> None:
    archive = vectors(THUMB, np.repeat(thumbs(2, 1), [500, 100], axis=0))
    truth = 500 * 499 // 2 + 100 * 99 // 2
    expected, at_least = estimate_pairs(archive, 300.0, sample=200)
    assert 0.9 * truth < expected < 1.1 * truth
    assert truth / 2 < at_least < truth


def test_the_estimate_of_what_is_wanted() -> None:
    archive = vectors(THUMB, np.repeat(thumbs(2, 1), 30, axis=0))
    first = np.arange(60) < 40
    sides = Sides(first, ~first)

    def even(parts: Iterable[RowPairs]) -> Iterator[RowPairs]:
        return (part.where((part.one + part.other) % 2 == 0) for part in parts)

    assert estimate_pairs(archive, 300.0, sides) == (200, 200)
    assert estimate_pairs(archive, 300.0, sides, wanted=even) == (100, 100)


def test_few_pairs_of_a_sample_leave_doubt() -> None:
    """500 pictures in 2,000 have a copy: of 200 hardly any is there with its copy."""
    stored = np.concatenate([thumbs(1500, 1), thumbs(1500, 1)[:500]])
    estimate = estimate_pairs(vectors(THUMB, stored), 300.0, sample=200)
    assert estimate.at_least < 500


def test_the_sample_has_no_rhythm() -> None:
    """Every tenth page is the same title page."""
    stored = thumbs(1000, 1)
    stored[::10] = stored[0]
    assert estimate_pairs(vectors(THUMB, stored), 300.0, sample=100).expected < 2 * 4950


def test_removed_rows_are_not_estimated() -> None:
    archive = vectors(THUMB, np.repeat(thumbs(1, 1), 50, axis=0), np.arange(50) < 10)
    assert estimate_pairs(archive, 300.0) == (45, 45)


@pytest.mark.parametrize("limit", [1, 7, 60, 1000])
def test_the_nearest_of_many(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfjoin, "_HELD", 5)  # so that there is something to drop on the way
    archive = vectors(THUMB, mixture(THUMB, 200, 3))
    whole = pairs(archive, 900.0)
    some = [whole.where(np.arange(len(whole)) % 9 == part) for part in range(9)]
    found, count = selfjoin.nearest_of(some, limit, 10**6)
    assert count == len(whole) > 60
    last = np.sort(whole.distances)[min(limit, count) - 1]
    assert triples(found) == triples(whole.where(whole.distances <= last))


def test_ties_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 blank pages are 200 million pairs at distance 0: too many to look for the first."""
    monkeypatch.setattr(selfjoin, "_HELD", 5)
    whole = pairs(vectors(THUMB, np.repeat(thumbs(1, 1), 40, axis=0)), 300.0)
    some = [whole.where(np.arange(len(whole)) % 9 == part) for part in range(9)]
    assert len(selfjoin.nearest_of(some, 3, len(whole))[0]) == len(whole)
    with pytest.raises(UsageError, match="lie at 0 or nearer, more than the limit of 100"):
        selfjoin.nearest_of(some, 3, 100)


def test_by_row() -> None:
    found = RowPairs(np.array([2, 2, 0]), np.array([7, 4, 2]), np.array([1.0, 1.0, 0.5]))
    listed = [(row, *(each.tolist() for each in rest)) for row, *rest in by_row(found)]
    assert listed == [
        (0, [2], [0.5], [2]),
        (2, [0, 4, 7], [0.5, 1.0, 1.0], [2, 1, 0]),
        (4, [2], [1.0], [1]),
        (7, [2], [1.0], [0]),
    ]


def test_by_row_of_no_pairs() -> None:
    none = np.zeros(0, np.intp)
    assert list(by_row(RowPairs(none, none, np.zeros(0)))) == []
