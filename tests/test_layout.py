"""annidx.layout: what is merged, what gets a graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annidx.layout import TAIL_ROWS, Layout, Size, groups_of, merged, plan
from annidx.store.segment import ROWS
from scripts.simulate_layout import Archive, simulate

# --- segments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "waiting", "chosen"),
    [
        ([], 5, []),
        ([(10, 10)], 0, []),  # nothing new: nothing is rewritten
        ([(10, 10)], 5, []),
        ([(10, 10)], 6, [0]),
        ([(10, 10), (5, 5)], 3, [0, 1]),
        ([(16, 16), (5, 5)], 3, [1]),
        ([(5, 5), (100, 100), (5, 5)], 3, [2]),  # what is older than a larger one stays
        ([(100, 80)], 40, []),  # only live rows count
        ([(100, 80)], 41, [0]),
        ([(100, 75)], 0, []),
        ([(100, 74)], 0, [0]),  # more than a quarter is removed
        ([(100, 0)], 0, [0]),
        ([(100, 74), (10, 10)], 0, [0, 1]),
        ([(ROWS, ROWS)], ROWS - 1, []),
        ([(40_000, 40_000)], 30_000, []),  # together they would be more than one segment
        ([(35_000, 35_000)], 30_000, [0]),
    ],
)
def test_merged(sizes: list[tuple[int, int]], waiting: int, chosen: list[int]) -> None:
    assert merged([Size(*each) for each in sizes], waiting) == chosen


@pytest.mark.parametrize(
    ("sizes", "waiting", "chosen"),
    [
        ([(ROWS, ROWS), (100, 100), (50_000, 50_000), (10, 10)], 0, [1, 3]),
        ([(ROWS, ROWS), (100, 100)], 0, []),  # alone it would come out the same
        ([(ROWS, ROWS), (100, 100)], 1, [1]),
        ([(ROWS, ROWS // 2), (100, 100)], 0, [0]),
    ],
)
def test_merged_under_a_new_graph(
    sizes: list[tuple[int, int]], waiting: int, chosen: list[int]
) -> None:
    assert merged([Size(*each) for each in sizes], waiting, cover=True) == chosen


segment_sizes = st.tuples(st.integers(1, ROWS), st.integers(0, 1000)).map(
    lambda pair: Size(min(ROWS, pair[0] + pair[1]), pair[0])
)


@given(st.lists(segment_sizes, max_size=12), st.integers(0, ROWS - 1))
@settings(max_examples=120, deadline=None, derandomize=True)
def test_what_is_merged(sizes: list[Size], waiting: int) -> None:
    chosen = merged(sizes, waiting)
    assert chosen == sorted(set(chosen))
    worn = [at for at, size in enumerate(sizes) if size.rows - size.live > size.rows / 4]
    assert set(worn) <= set(chosen)
    gathered = waiting + sum(sizes[at].live for at in chosen)
    if not worn:
        assert gathered <= ROWS or not chosen
        assert chosen == list(range(len(sizes)))[len(sizes) - len(chosen) :]  # only the newest
    others = [size.live for at, size in enumerate(sizes) if at not in chosen]
    if others and gathered:
        assert others[-1] >= 2 * gathered or others[-1] + gathered > ROWS


# --- graphs -------------------------------------------------------------------------------------

MANY = TAIL_ROWS + 1


@pytest.mark.parametrize(
    ("lives", "groups", "waiting", "expected"),
    [
        ([], [], 0, Layout((), (), False)),
        ([], [], 1, Layout((), (), True)),  # the first pictures always get a graph
        ([9000], [[0]], TAIL_ROWS, Layout((0,), (), False)),
        ([9000], [[0]], MANY, Layout((0,), (), True)),
        ([4000], [[0]], MANY, Layout((), (0,), True)),  # fewer than twice as many: together
        ([90_000, 11_000, 3000], [[0], [1], [2]], MANY, Layout((0, 1), (2,), True)),
        ([90_000, 11_000, 3000], [[0], [1], [2]], 2 * MANY, Layout((0,), (1, 2), True)),
        ([5000, 100], [[0]], 10, Layout((0,), (), False)),
        ([5000, 100], [[0]], 60, Layout((0,), (1,), False)),  # the tail alone is merged
        ([5000, 100], [], 0, Layout((), (0, 1), True)),  # graphs that were lost
    ],
)
def test_plan(lives: list[int], groups: list[list[int]], waiting: int, expected: Layout) -> None:
    assert plan([Size(n, n) for n in lives], groups, waiting=waiting) == expected


def test_rows_that_are_in_segments_already_count() -> None:
    sizes = [Size(9000, 9000)]
    assert plan(sizes, [[0]], waiting=0, written=MANY) == Layout((0,), (), True)


def test_all_graphs_anew() -> None:
    sizes = [Size(90_000, 90_000), Size(9000, 9000)]
    assert plan(sizes, [[0], [1]], waiting=0, anew=True) == Layout((), (), True)


def test_a_worn_graph_joins_the_tail() -> None:
    """Of 1,000 rows 260 are gone; that of its segments which is not worn may stay as it is."""
    sizes = [Size(90_000, 90_000), Size(500, 490), Size(500, 250)]
    assert plan(sizes, [[0], [1, 2]], waiting=0) == Layout((0,), (1, 2), False)
    sizes[2] = Size(500, 260)
    assert plan(sizes, [[0], [1, 2]], waiting=0) == Layout((0, 1), (), False)


def test_what_was_planned_is_planned_no_more() -> None:
    """A build over an archive that has not changed is a no-op, whatever builds there were."""
    archive = Archive()
    for new_rows in (30_000, 500, 40, 3000, 1, 2500, 70_000, 9):
        archive.build(new_rows)
        written, groups = archive.rows_written, archive.groups
        archive.build(0)
        assert (archive.rows_written, archive.groups) == (written, groups)


def test_groups_of() -> None:
    names = ["a", "b", "c", "d"]
    assert groups_of(names, []) == []
    assert groups_of(names, [("a", "b"), ("a", "b"), ("c",)]) == [[0, 1], [2]]
    assert groups_of(names, [("c",), ("a", "b")]) == [[0, 1], [2]]
    assert groups_of(names, [("a", "x"), ("d",)]) == [[3]]  # a segment that is gone
    assert groups_of(names, [("a", "c"), ("b", "a"), ()]) == []  # not side by side
    assert groups_of(names, [("a",), ("a", "b"), ("b", "c"), ("c",)]) == [[0, 1], [2]]


# --- what it costs ------------------------------------------------------------------------------


def few(rows: float) -> float:
    """Return how many segments so many rows may be in: those that are full, and the doubling."""
    return 4 * rows / ROWS + math.log2(min(rows, ROWS)) + 2


@pytest.mark.parametrize("kind", ["added", "changed"])
@pytest.mark.parametrize("pictures", [1000, 100_000, 1_000_000])
def test_a_thousand_daily_builds(pictures: int, kind: str) -> None:
    """A tenth of a percent a day: each new row is written some times only."""
    found = simulate(pictures, max(1, pictures // 1000), kind, 1000)
    assert float(found["rows_written"]) <= 9
    assert float(found["nodes_built"]) <= 9
    assert float(found["segments"]) <= few(2 * pictures)
    assert float(found["graphs"]) <= 10
    assert float(found["tail"]) <= TAIL_ROWS
    assert float(found["dead"]) <= 0.25


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=200), st.integers(0, 200_000))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_segments_stay_few_whatever_comes(daily: Sequence[int], first: int) -> None:
    archive = Archive()
    for new_rows in [*([first] if first else []), *daily]:
        archive.build(new_rows)
    live = sum(size.live for size in archive.segments)
    assert live == first + sum(daily)
    assert max(size.rows for size in archive.segments) <= ROWS
    assert len(archive.segments) <= few(live)
    covered = [at for group in archive.groups for at in group]
    assert covered == list(range(len(covered)))
    assert sum(size.live for size in archive.segments[len(covered) :]) <= TAIL_ROWS
