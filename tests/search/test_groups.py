"""annidx.search.groups: groups of pairs, against a naive way to make them."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annidx.descriptors import SIGNATURE, THUMB, Descriptor
from annidx.model import Linkage
from annidx.search import selfjoin
from annidx.search.groups import RULES, diameter
from annidx.search.selfjoin import RowPairs
from annidx.search.vectors import distances
from tests.making import copies, vectors
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
    return grouped("connected", edges)


def grouped(linkage: Linkage, edges: list[Edge]) -> list[tuple[list[int], float]]:
    return [(group.rows.tolist(), group.weakest) for group in RULES[linkage](row_pairs(edges))]


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


# Points on a line, some of them equal, and what is within the cutoff: pairs as an archive has them.
CUTOFF = 5
lines = st.lists(st.integers(0, 30), max_size=18)


def within(points: list[int]) -> list[Edge]:
    numbered = combinations(enumerate(points), 2)
    edges = [(a, b, float(abs(x - y))) for (a, x), (b, y) in numbered]
    return [edge for edge in edges if edge[2] <= CUTOFF]


def naive_complete(apart: dict[frozenset[int], int], cutoff: int) -> list[list[int]]:
    """Merge the two clusters whose farthest members are nearest, until none are near enough."""
    clusters = [[row] for row in sorted(frozenset().union(*apart))]

    def height(two: tuple[list[int], list[int]]) -> int:
        return max(apart[frozenset(ends)] for ends in product(*two))

    while len(clusters) > 1:
        one, other = min(combinations(clusters, 2), key=height)
        if height((one, other)) > cutoff:
            break
        clusters = [each for each in clusters if each not in (one, other)] + [one + other]
    return sorted(sorted(each) for each in clusters if len(each) > 1)


@given(st.permutations(range(1, 29)), st.integers(1, 28))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_complete_is_complete_linkage(lengths: list[int], cutoff: int) -> None:
    """Against the textbook, with any distances of which no two are equal."""
    apart = dict(zip(combinations(range(8), 2), lengths, strict=True))
    near = [(one, other, float(far)) for (one, other), far in apart.items() if far <= cutoff]
    groups = [rows for rows, _ in grouped("complete", near)]
    assert groups == naive_complete({frozenset(key): far for key, far in apart.items()}, cutoff)


@given(lines)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_no_complete_group_is_wider_than_the_cutoff(points: list[int]) -> None:
    for rows, _ in grouped("complete", within(points)):
        assert max(points[row] for row in rows) - min(points[row] for row in rows) <= CUTOFF


@given(lines)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_two_complete_groups_do_not_fit_together(points: list[int]) -> None:
    groups = [[points[row] for row in rows] for rows, _ in grouped("complete", within(points))]
    for one, other in combinations(groups, 2):
        assert max(one + other) - min(one + other) > CUTOFF


@given(lines)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_every_star_has_a_centre(points: list[int]) -> None:
    for rows, _ in grouped("star", within(points)):
        assert any(all(abs(points[row] - points[at]) <= CUTOFF for row in rows) for at in rows)


@given(edge_lists)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_stars_of_any_pairs(edges: list[Edge]) -> None:
    """Not only of points: also where pairs were left out."""
    edges = [(one, other, apart + 1) for one, other, apart in edges]
    near = {frozenset(edge[:2]) for edge in edges}
    for rows, _ in grouped("star", edges):
        assert any(all({row, at} in near for row in rows if row != at) for at in rows)
    for rows, _ in grouped("complete", edges):
        assert all({one, other} in near for one, other in combinations(rows, 2))


@pytest.mark.parametrize("linkage", RULES)
@given(points=lines, seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_linkage(linkage: Linkage, points: list[int], seed: int) -> None:
    """A partition, by first row, whatever the order of the pairs; equal points stay together."""
    edges = within(points)
    groups = grouped(linkage, edges)
    shuffled = [edges[at] for at in np.random.default_rng(seed).permutation(len(edges))]
    assert grouped(linkage, shuffled) == groups
    members = [row for rows, _ in groups for row in rows]
    assert len(set(members)) == len(members)
    assert [rows[0] for rows, _ in groups] == sorted(rows[0] for rows, _ in groups)
    assert all(len(rows) > 1 and rows == sorted(rows) for rows, _ in groups)
    group_of = {row: at for at, (rows, _) in enumerate(groups) for row in rows}
    for one, other in combinations(range(len(points)), 2):
        if points[one] == points[other]:
            assert group_of[one] == group_of[other]
    for rows, weakest in groups:
        ordered = sorted(points[row] for row in rows)
        assert weakest == max(np.diff(ordered))  # the spanning tree of points on a line


def test_a_star_keeps_who_has_most_neighbours() -> None:
    """1 has three neighbours; 4 and 5 are nearer to each other than 4 is to 1."""
    edges = [(0, 1, 3.0), (1, 2, 3.0), (1, 4, 3.0), (4, 5, 1.0)]
    assert grouped("star", edges) == [([0, 1, 2], 3.0), ([4, 5], 1.0)]


def test_the_nearer_centre_takes_a_picture() -> None:
    edges = [(0, 1, 2.0), (0, 2, 2.0), (0, 3, 2.0), (3, 4, 1.0), (4, 5, 2.0), (4, 6, 2.0)]
    assert grouped("star", edges) == [([0, 1, 2], 2.0), ([3, 4, 5, 6], 2.0)]


def test_ties_between_centres() -> None:
    """As many neighbours: who is nearer to them is the centre; as near: who comes first."""
    assert grouped("star", [(0, 1, 2.0), (1, 2, 1.0), (2, 3, 1.0)]) == [([1, 2, 3], 1.0)]
    assert grouped("star", [(0, 1, 2.0), (1, 2, 1.0), (2, 3, 2.0)]) == [([0, 1, 2], 2.0)]


@pytest.mark.parametrize("linkage", RULES)
def test_five_thousand_copies_are_one(linkage: Linkage) -> None:
    """Also where not all pairs of copies are given: to be equal is to be one."""
    copies_of_0 = [(0, at, 0.0) for at in range(1, 5000)]
    near = [(0, 5000, 4.0), (4999, 5000, 4.0), (5000, 5001, 4.0)]
    (rows, weakest), *others = grouped(linkage, copies_of_0 + near)
    assert rows[:5000] == list(range(5000))
    assert (rows[5000:], others) == {
        "connected": ([5000, 5001], []),
        "complete": ([5000], []),
        "star": ([5000, 5001], []),
    }[linkage]
    assert weakest == 4.0


@pytest.mark.parametrize("linkage", ["complete", "star"])
@pytest.mark.parametrize("metric", [THUMB, SIGNATURE], ids=name_of)
def test_groups_of_an_archive(metric: Descriptor, linkage: Linkage) -> None:
    """A crowd of near-copies, many equal ones among them: nothing is wider than it may be."""
    crowd = copies(metric, np.repeat(spread(metric, 1, 9), 60, axis=0), 3, change=6.0)
    stored = np.concatenate([mixture(metric, 100, 2), crowd, np.repeat(crowd[:1], 100, axis=0)])
    groups = RULES[linkage](selfjoin.pairs(vectors(metric, stored), metric.cutoff))
    assert len(groups) > 5
    for group in groups:
        members = stored[group.rows]
        radii = [distances(metric, each[None], members).max() for each in members]
        assert (max(radii) if linkage == "complete" else min(radii)) <= metric.cutoff
    assert [group for group in groups if set(range(160, 260)) <= set(group.rows.tolist())]


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
