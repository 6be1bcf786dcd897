"""annidx.search.exact: against a loop over everything."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from annidx.descriptors import THUMB, Descriptor
from annidx.search import exact
from annidx.search import vectors as blocked
from annidx.search.exact import Hits
from annidx.search.vectors import Rows, Stored, Vectors, distances
from tests.making import thumbs, vectors
from tests.search.spreads import METRICS, copies, mixture, spread

each_metric = pytest.mark.parametrize(
    ("metric", "cutoff"),
    [(metric, metric.cutoff) for metric in METRICS],
    ids=[metric.name for metric in METRICS],
)


def brute_force(
    archive: Vectors, query: npt.NDArray[np.uint8], cutoff: float, k: int | None, rows: Rows
) -> tuple[list[tuple[float, int]], bool]:
    """Return (distance, row) of the neighbours with the ties at k, and whether that is all."""
    apart = distances(archive.descriptor, query[None], archive.take(rows))
    found = sorted((float(d), int(row)) for d, row in zip(apart, rows, strict=True) if d <= cutoff)
    if k is None or len(found) <= k:
        return found, True
    return [each for each in found if each[0] <= found[k - 1][0]], False


def as_list(hits: Hits) -> list[tuple[float, int]]:
    return list(zip(hits.distances.tolist(), hits.rows.tolist(), strict=True))


@each_metric
@pytest.mark.parametrize("k", [None, 1, 2, 5, 40])
@pytest.mark.parametrize("width", [0.0, 0.5, 1.0, 100.0])
def test_against_brute_force(
    metric: Descriptor,
    cutoff: float,
    k: int | None,
    width: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocked, "_BLOCK", 64)  # neighbours come from several blocks
    rng = np.random.default_rng(1)
    stored = mixture(metric, 300, 2)
    archive = vectors(metric, stored, rng.random(300) < 0.8, cuts=[100, 101])
    queries = np.concatenate([stored[:12], spread(metric, 2, 9)])
    limit = min(cutoff * width, metric.largest)
    found = exact.search(archive, queries, cutoff=limit, k=k)
    assert len(found) == len(queries)
    for query, hits in zip(queries, found, strict=True):
        expected, complete = brute_force(archive, query, limit, k, np.flatnonzero(archive.live))
        assert as_list(hits) == expected
        assert hits.complete == complete


@each_metric
def test_only_some_rows(metric: Descriptor, cutoff: float) -> None:
    stored = mixture(metric, 200, 2)
    archive = vectors(metric, stored)
    rows = np.arange(50, 120)
    (hits,) = exact.search(archive, stored[60:61], cutoff=cutoff, k=None, rows=rows)
    assert as_list(hits) == brute_force(archive, stored[60], cutoff, None, rows)[0]


@each_metric
def test_the_cutoff_is_inclusive(metric: Descriptor, cutoff: float) -> None:
    stored = spread(metric, 40, 3)
    archive = vectors(metric, stored)
    for apart in distances(metric, stored[:1], stored[1:]):
        (hits,) = exact.search(archive, stored[:1], cutoff=apart, k=None)
        assert hits.distances[-1] == apart
        (less,) = exact.search(archive, stored[:1], cutoff=np.nextafter(apart, 0), k=None)
        assert len(less.rows) < len(hits.rows)


def test_exactly_k_within_the_cutoff_is_complete() -> None:
    stored = np.concatenate([copies(THUMB, np.repeat(thumbs(1, 1), 10, axis=0), 2), thumbs(50, 3)])
    archive = vectors(THUMB, stored)
    for k, count, complete in [(1, 1, False), (9, 9, False), (10, 10, True), (11, 10, True)]:
        (hits,) = exact.search(archive, stored[:1], cutoff=300, k=k)
        assert (len(hits.rows), hits.complete) == (count, complete)


def test_ties_at_k_are_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller breaks them by path; copies may come late, in another block."""
    monkeypatch.setattr(blocked, "_BLOCK", 16)
    stored = thumbs(100, 1)
    stored[[3, 50, 99]] = stored[0]
    archive = vectors(THUMB, stored)
    (hits,) = exact.search(archive, stored[:1], cutoff=300, k=2)
    assert as_list(hits) == [(0.0, 0), (0.0, 3), (0.0, 50), (0.0, 99)]
    assert not hits.complete


def test_copies_against_copies_are_compared_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand queries and a block full of copies of them would take gigabytes."""
    monkeypatch.setattr(exact, "_AT_ONCE", 50)
    sizes = []

    def noted(descriptor: Descriptor, one: Stored, other: Stored) -> npt.NDArray[np.float64]:
        sizes.append(len(other))
        return distances(descriptor, one, other)

    monkeypatch.setattr(exact, "distances", noted)
    archive = vectors(THUMB, np.repeat(thumbs(3, 1), 20, axis=0))
    found = exact.search(archive, archive.take(np.arange(60)), cutoff=300, k=None)
    assert (sum(sizes), max(sizes)) == (3 * 20 * 20, 50)
    assert [hits.rows.tolist() for hits in found[::20]] == [
        list(range(first, first + 20)) for first in (0, 20, 40)
    ]


def test_no_queries_and_no_archive() -> None:
    archive = vectors(THUMB, thumbs(5, 1))
    assert exact.search(archive, np.zeros((0, 1200), np.uint8), cutoff=300, k=None) == []
    empty = vectors(THUMB, np.zeros((0, 1200), np.uint8))
    (hits,) = exact.search(empty, thumbs(1, 1), cutoff=300, k=3)
    assert (as_list(hits), hits.complete) == ([], True)


def test_removed_rows_are_not_found() -> None:
    archive = vectors(
        THUMB, np.repeat(thumbs(1, 1), 4, axis=0), np.array([True, False, True, False])
    )
    (hits,) = exact.search(archive, thumbs(1, 1), cutoff=0, k=None)
    assert hits.rows.tolist() == [0, 2]


def hits_of(*pairs: tuple[float, int], complete: bool = True) -> Hits:
    rows = np.array([row for _, row in pairs], np.intp)
    return Hits(rows, np.array([apart for apart, _ in pairs], np.float64), complete)


@pytest.mark.parametrize(
    ("k", "expected", "complete"),
    [
        (None, [(1.0, 4), (2.0, 1), (2.0, 7), (3.0, 2)], True),
        (4, [(1.0, 4), (2.0, 1), (2.0, 7), (3.0, 2)], True),
        (3, [(1.0, 4), (2.0, 1), (2.0, 7)], False),
        (2, [(1.0, 4), (2.0, 1), (2.0, 7)], False),
        (1, [(1.0, 4)], False),
    ],
)
def test_merge(k: int | None, expected: list[tuple[float, int]], complete: bool) -> None:
    parts = [hits_of((2.0, 7), (3.0, 2)), hits_of((1.0, 4), (2.0, 1))]
    merged = exact.merge(parts, k=k)
    assert as_list(merged) == expected
    assert merged.complete == complete


def test_what_was_cut_stays_incomplete() -> None:
    cut = hits_of((1.0, 1), complete=False)
    assert not exact.merge([cut, hits_of()], k=5).complete
    assert not exact.merge([cut], k=5).complete
    assert exact.merge([], k=5).complete
