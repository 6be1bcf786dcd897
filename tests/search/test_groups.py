"""annidx.search.groups: groups of pairs, against a naive way to make them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annidx.descriptors import THUMB, Descriptor
from annidx.search.groups import connected, diameter
from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import distances
from tests.making import vectors
from tests.search.spreads import METRICS, mixture, name_of, spread

Edge = tuple[int, int, float]


def row_pairs(edges: list[Edge]) -> RowPairs:
    one, other, apart = zip(*edges, strict=True) if edges else ((), (), ())
    return RowPairs(np.array(one, np.intp), np.array(other, np.intp), np.array(apart, np.float64))


def naive(edges: list[Edge]) -> list[tuple[list[int], float]]:
    """Grow each group from its first row; find its weakest link by leaving long pairs out."""
    left = {row for one, other, _ in edges for row in (one, other)}
    made = []
    while left:
        members = reached(min(left), edges)
        lengths = sorted({apart for one, _, apart in edges if one in members})
        weakest = next(
            limit
            for limit in lengths
            if reached(min(members), [edge for edge in edges if edge[2] <= limit]) == members
        )
        made.append((sorted(members), weakest))
        left -= members
    return made


def reached(row: int, edges: list[Edge]) -> set[int]:
    members = {row}
    while True:
        more = {end for edge in edges if members & set(edge[:2]) for end in edge[:2]} - members
        if not more:
            return members
        members |= more


def found(edges: list[Edge]) -> list[tuple[list[int], float]]:
    return [(group.rows.tolist(), group.weakest) for group in connected(row_pairs(edges))]


row_numbers = st.integers(0, 14)
edge_lists = st.lists(
    st.tuples(row_numbers, row_numbers).filter(lambda pair: pair[0] < pair[1]),
    unique=True,
    max_size=25,
).flatmap(
    lambda pairs: st.tuples(
        *(st.tuples(st.just(a), st.just(b), st.integers(0, 5).map(float)) for a, b in pairs)
    ).map(list)
)


@given(edge_lists)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_against_the_naive_way(edges: list[Edge]) -> None:
    expected = naive(edges)
    assert found(edges) == expected
    assert found(edges[::-1]) == expected  # the order of the pairs does not matter


def test_no_pairs() -> None:
    assert found([]) == []


def test_a_chain_is_one_group() -> None:
    edges = [(at, at + 1, 1.0 + at) for at in range(2000)]
    assert found(edges[::-1]) == [(list(range(2001)), 2000.0)]


def test_the_weakest_link_is_on_the_spanning_tree() -> None:
    """0-1-2 hold together at 2; that 0 and 2 are 9 apart does not matter."""
    assert found([(0, 1, 1.0), (1, 2, 2.0), (0, 2, 9.0)]) == [([0, 1, 2], 2.0)]


def test_groups_come_by_their_first_row() -> None:
    edges = [(7, 9, 0.0), (2, 30, 5.0), (1, 40, 1.0), (30, 31, 2.0)]
    assert found(edges) == [([1, 40], 1.0), ([2, 30, 31], 5.0), ([7, 9], 0.0)]


@pytest.mark.parametrize("metric", METRICS, ids=name_of)
def test_diameter(metric: Descriptor) -> None:
    stored = mixture(metric, 60, 1)
    archive = vectors(metric, stored, cuts=[11])
    rows = np.array([3, 8, 20, 21, 22, 41, 59])
    expected = max(
        distances(metric, stored[one][None], stored[other][None])[0]
        for one, other in combinations(rows, 2)
    )
    assert diameter(archive, rows) == expected


@pytest.mark.parametrize("step", [1, 3, 20])
@pytest.mark.parametrize("count", [2, 3, 30])
def test_the_diameter_of_near_copies(step: int, count: int) -> None:
    """Short distances, where the slack of float32 is not small beside them."""
    stored = np.repeat(np.clip(spread(THUMB, 1, 1), 20, 200), count, axis=0)
    rng = np.random.default_rng(count)
    for row in stored[1:]:
        row[rng.integers(0, 1200, 2)] += np.uint8(step)
    archive = vectors(THUMB, stored)
    pairs = [distances(THUMB, stored[at : at + 1], stored).max() for at in range(count)]
    assert diameter(archive, np.arange(count)) == max(pairs) > 0


def test_the_diameter_of_any_shape() -> None:
    """The farthest two are not always the outermost ones."""
    rng = np.random.default_rng(1)
    for _ in range(150):
        stored = np.full((6, 1200), 128, np.uint8)
        stored[:, :2] = np.clip(rng.normal(128, 45, (6, 2)), 0, 255)
        apart = [distances(THUMB, stored[at : at + 1], stored).max() for at in range(6)]
        assert diameter(vectors(THUMB, stored), np.arange(6)) == max(apart)


def test_the_diameter_of_copies_and_of_few() -> None:
    archive = vectors(THUMB, np.repeat(spread(THUMB, 1, 1), 500, axis=0))
    assert diameter(archive, np.arange(500)) == 0.0
    assert diameter(archive, np.arange(1)) == 0.0
    assert diameter(archive, np.arange(0)) == 0.0
