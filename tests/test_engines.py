"""annidx.engines: whatever is asked, graphs, joins and exhaustive scans give the same answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annidx import Filter, Index, engines
from annidx.descriptors import SIGNATURE, THUMB, Descriptor
from annidx.errors import UsageError
from annidx.found import Matches
from annidx.model import Record
from annidx.search.estimate import Estimate
from annidx.search.vectors import Stored
from annidx.store import snapshot
from tests.archive import query_of
from tests.covered import index_of, records
from tests.making import add_segment, copies, signatures, spread, thumbs

CUTS = (190, 380)
PICTURES = 480
REMOVED = {0: ((0, 20), (150, 1)), 1: ((189, 1),), 2: ((10, 20),)}
GRAPHS = {metric.name: [[0], [1]] for metric in (THUMB, SIGNATURE)}
WAYS: dict[str, dict[str, Any]] = {
    "graph": {"engine": "graph"},
    "exact": {"engine": "exact"},
    "exhaustive": {"exact": True},
}
RECALL = 0.999


def stored(metric: Descriptor, seed: int) -> Stored:
    """Return shuffled vectors: unrelated, near to one, loose and dense clusters, equal ones."""
    single = spread(metric, PICTURES - 270, seed)
    near = copies(metric, single[:100], seed + 1)
    loose = copies(metric, np.repeat(single[100:101], 50, axis=0), seed + 2, change=5.0)
    dense = copies(metric, np.repeat(single[101:102], 80, axis=0), seed + 3, change=1.0)
    equal = np.repeat(single[102:104], 20, axis=0)
    order = np.random.default_rng(7).permutation(PICTURES)
    return np.concatenate([single, near, loose, dense, equal])[order]


ROWS = records(stored(THUMB, 1), stored(SIGNATURE, 2))
"""Not to be changed."""


def parts_of(rows: Sequence[Record]) -> list[Sequence[Record]]:
    first, second = CUTS
    return [rows[:first], rows[first:second], rows[second:]]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    place = tmp_path_factory.mktemp("engines").resolve() / "index"
    return index_of(place, parts_of(ROWS), graphs_of=GRAPHS, removed=REMOVED)


@pytest.fixture(scope="module")
def asked() -> list[Record]:
    """Pictures that are in the archive, were, and never were."""
    strange = records(thumbs(5, 88), signatures(5, 88))
    return [query_of(row) for row in [*ROWS[:40:7], *ROWS[60::30], *strange]]


def live() -> list[Record]:
    gone = {
        start + first + more
        for start, at in zip((0, *CUTS), REMOVED, strict=True)
        for first, count in REMOVED[at]
        for more in range(count)
    }
    return [row for number, row in enumerate(ROWS) if number not in gone]


def agree(found: dict[str, set[Any]], *, least: int) -> None:
    """Check that exact ways find the same, and the graph at least 99.9 % of it and nothing else."""
    truth = found["exhaustive"]
    assert len(truth) >= least
    assert found["exact"] == truth
    assert found["graph"] <= truth
    assert len(found["graph"]) >= RECALL * len(truth)


def told(answers: Sequence[Matches], way: str) -> None:
    """Check what answers say of who gave them."""
    for each in answers:
        assert each.answer.exact == (each.answer.engine == "exact")
        assert (each.answer.recall is None) == each.answer.exact
        assert way == "graph" or each.answer.exact
    assert way != "graph" or any(each.answer.engine == "graph" for each in answers)


@pytest.mark.parametrize("metric", ["thumb", "signature"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": None},
        {"k": 1},
        {"k": 200},
        {"match": "strict"},
        {"cutoff": 0.0, "k": None},
        {"transforms": "flips", "k": 3},
        {"where": Filter(min_bytes=6000), "k": None},
        {"where": Filter(paths=["1/", "*/00*"], min_pixels=(641, 480)), "k": 3},
        {"where": Filter(pixel_size="different"), "k": 30},
        {"where": Filter(pixel_size="same"), "transforms": "rotations"},
        {"where": Filter(formats="PNG"), "k": 1},
        {"limit": 50, "k": None},
    ],
    ids=str,
)
def test_queries(index: Index, asked: list[Record], metric: str, options: dict[str, Any]) -> None:
    found, complete = {}, {}
    for way, engine in WAYS.items():
        answers = index.query_many(asked, metric=metric, **engine, **options)
        told(answers, way)
        found[way] = {
            (at, match.path, match.distance, match.transform)
            for at, each in enumerate(answers)
            for match in each
        }
        complete[way] = [each.answer.complete for each in answers]
    wanted = options.get("where")
    agree(found, least=0 if wanted is not None and wanted.formats else 10)
    assert complete["exact"] == complete["exhaustive"]
    same = np.equal(complete["graph"], complete["exact"])
    assert same.mean() >= 0.95


@pytest.mark.parametrize("metric", ["thumb", "signature"])
@pytest.mark.parametrize("options", [{}, {"transforms": "all"}, {"where": Filter(min_bytes=7000)}])
def test_has(index: Index, asked: list[Record], metric: str, options: dict[str, Any]) -> None:
    found: dict[str, set[Any]] = {}
    for way, engine in WAYS.items():
        answers = index.has_many(asked[::3], metric=metric, **engine, **options)
        assert all(each.nearest is not None for each in answers)
        found[way] = {
            (at, bool(each), each.nearest.path, each.nearest.distance)
            for at, each in enumerate(answers)
            if each.nearest is not None
        }
    agree(found, least=5)


def joined(
    ask: Callable[..., Any], told_by: Callable[[Any], set[Any]], options: dict[str, Any]
) -> dict[str, set[Any]]:
    """Ask all ways; return what each found."""
    found = {}
    for way, engine in WAYS.items():
        answer = ask(**engine, **options)
        assert answer.answer.engine == ("graph" if way == "graph" else "exact")
        found[way] = told_by(answer)
    return found


def sides(index: Index, options: dict[str, Any]) -> dict[str, Any]:
    """Return options with folders that depend on where the index lies."""
    roots = [index.snapshot.index / f"root{number}" for number in (1, 2)]
    places = {"roots": tuple(roots), "within": (roots[0], roots[0] / "2"), "root": roots[1]}
    return {
        name: places.get(value, value) if isinstance(value, str) else value
        for name, value in options.items()
    }


JOINS: list[dict[str, Any]] = [
    {},
    {"cutoff": 0.0},
    {"between": "roots"},
    {"between": "within"},
    {"reference": "root"},
    {"since": "2023-11-19"},
    {"since": "2023-11-19", "between": "roots", "reference": "root"},
    {"where": Filter(min_bytes=3000, pixel_size="different")},
    {"where": Filter(paths="0/"), "since": "2023-11-17"},
]


@pytest.mark.parametrize(
    ("metric", "options"),
    [*(("thumb", each) for each in JOINS), *(("signature", each) for each in JOINS[::3])],
    ids=str,
)
def test_pairs(index: Index, metric: str, options: dict[str, Any]) -> None:
    wanted = sides(index, options) | {"metric": metric}

    def pairs(found: Any) -> set[Any]:
        assert found.answer.complete
        assert len({(pair.a, pair.b) for pair in found}) == len(found)
        return {(pair.a, pair.b, pair.distance) for pair in found}

    found = joined(index.find_pairs, pairs, wanted)
    agree(found, least=10)
    # Only pairs that would be in the answer are too many.
    wanted["max_pairs"] = len(found["exact"])
    assert pairs(index.find_pairs(**wanted)) == found["exact"]


def test_the_nearest_pairs(index: Index) -> None:
    order = [(pair.distance, pair.a, pair.b) for pair in index.find_pairs(exact=True)]
    assert order == sorted(order)
    limit = len(order) // 2
    for engine in WAYS.values():
        nearest = index.find_pairs(limit=limit, **engine)
        assert not nearest.answer.complete
        found = [(pair.distance, pair.a, pair.b) for pair in nearest]
        assert found == sorted(found)
        assert len(found) == limit
        assert len({*found} & {*order[:limit]}) >= RECALL * limit


def test_all_pairs_are_those_of_plain_numbers(index: Index) -> None:
    rows = live()
    values = np.array([list(row.descriptors["thumb"]) for row in rows], np.float64)
    squares = (values**2).sum(axis=1)
    apart = squares[:, None] + squares - 2 * values @ values.T
    one, other = np.nonzero(np.triu(apart <= 300.0**2, 1))
    found = index.find_pairs()
    assert len(found) == len(one)
    assert sorted(pair.distance**2 for pair in found) == pytest.approx(sorted(apart[one, other]))


@pytest.mark.parametrize(
    ("metric", "options"),
    [
        ("thumb", {"k": 3}),
        ("signature", {"k": 3}),
        ("thumb", {"k": None, "limit": 500, "since": "2023-11-19"}),
    ],
    ids=str,
)
def test_neighbours(index: Index, metric: str, options: dict[str, Any]) -> None:
    def neighbours(found: Any) -> set[Any]:
        return {
            (each.query, match.path, match.distance, each.answer.complete)
            for each in found
            for match in each
        }

    found = joined(index.neighbours, neighbours, {"metric": metric, **options})
    agree(found, least=100)


@pytest.mark.parametrize(
    ("metric", "linkage", "options"),
    [
        ("thumb", "connected", {"unconfirmed": True}),
        ("thumb", "complete", {"unconfirmed": True}),
        ("thumb", "star", {"unconfirmed": True}),
        ("thumb", "connected", {"since": "2023-11-19"}),
        ("signature", "complete", {}),
    ],
    ids=str,
)
def test_groups(index: Index, metric: str, linkage: str, options: dict[str, Any]) -> None:
    def groups(found: Any) -> set[Any]:
        return {(*each.raw_paths, each.diameter, each.weakest) for each in found}

    options = sides(index, options) | {"metric": metric, "linkage": linkage}
    found = joined(index.groups, groups, options)
    assert len(found["exact"]) > 5
    assert found["exact"] == found["exhaustive"]
    # A pair that the graph misses may change a group.
    assert len(found["graph"] ^ found["exact"]) <= 2


# --- vectors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "vectors",
    [
        np.full((1, 1200), np.nan),
        np.full((1, 1200), np.nan, np.float32),
        np.full((1, 1200), np.inf, np.float16),
        np.zeros((3, 1201), np.uint8),
        np.zeros((1, 0), np.uint8),
        np.zeros((0, 1199), np.uint8),
        np.zeros((1, 1200), np.int8),
        np.zeros((1, 1200), object),
        np.zeros((1, 1200), bool),
        [],
        None,
    ],
    ids=lambda each: f"{getattr(each, 'dtype', each)}{getattr(each, 'shape', '')}",
)
def test_vectors_that_are_none_reach_no_engine(index: Index, way: str, vectors: Any) -> None:
    with pytest.raises(UsageError, match=r"expected \(n, 1200\) uint8 vectors for thumb"):
        index.query_vectors(vectors, **WAYS[way])


@pytest.mark.parametrize("way", WAYS)
def test_vectors(index: Index, way: str) -> None:
    assert index.query_vectors(np.zeros((0, 1200), np.uint8), **WAYS[way]) == []
    given = np.array([list(row.descriptors["thumb"]) for row in ROWS[40::60]], np.uint8)
    found = index.query_vectors(given, k=4, **WAYS[way])
    assert [[match.path for match in each] for each in found] == [
        [match.path for match in index.query(query_of(row), k=4, exact=True)]
        for row in ROWS[40::60]
    ]


# --- threads --------------------------------------------------------------------------------------


def test_eight_threads_ask_while_snapshots_are_published(tmp_path: Path) -> None:
    """One index is shared, two more snapshots come; what was opened answers as it did."""
    rows = ROWS[:150]
    place = tmp_path.resolve() / "index"
    shared = index_of(place, [rows[:100], rows[100:]], graphs_of={"thumb": [[0]]})
    queries = [query_of(row) for row in rows[::25]]

    def answers(index: Index, at: int) -> Any:
        how: Any = [{"engine": "graph"}, {"exact": True}, {"where": Filter(min_bytes=3000)}][at % 3]
        near = index.query(queries[at], k=5, **how)
        return [*near], [*index.find_pairs(**how)][:20], [*index.groups(**how)]

    expected = [answers(shared, at) for at in range(len(queries))]
    fresh = Index(snapshot.current(place))  # nothing of it is loaded yet
    ended = threading.Event()
    errors: list[BaseException] = []
    rounds = [0] * 8

    def work(number: int) -> None:
        try:
            while not ended.is_set() or rounds[number] == 0:
                at = (number + rounds[number]) % len(queries)
                assert answers(fresh, at) == expected[at]
                rounds[number] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    try:
        for number in (1, 2):
            more = add_segment(place, ROWS[150 * number : 150 * number + 50], "pictures")
            before = snapshot.current(place).manifest
            segments = replace(before.segments[0], removed=((0, number),)), *before.segments[1:]
            snapshot.publish(place, replace(before, segments=(*segments, more)))
            opened = Index(snapshot.current(place))
            assert len(opened) == 150 + 50 * number - number
            assert opened.query(queries[1], k=5, engine="graph").answer.snapshot == 1 + number
            (itself, *_) = opened.query(query_of(ROWS[150 * number + 7]), k=5, engine="graph")
            assert itself.distance == 0.0
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)
    assert errors == []
    assert all(rounds)


@pytest.mark.parametrize(
    ("told", "samples", "refused"),
    [
        ([(20, 15)], [1500], True),  # beyond doubt
        ([(9, 0)], [1500], False),
        ([(20, 5), (20, 15)], [1500, 6000], True),
        ([(20, 5), (8, 5)], [1500, 6000], False),
        ([(20, 5), (20, 8)], [1500, 6000], False),  # still in doubt: they are counted
    ],
)
def test_a_doubtful_estimate_is_made_again_from_more(
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
    told: list[tuple[int, int]],
    samples: list[int],
    refused: bool,
) -> None:
    seen: list[int] = []

    def estimated(*_: Any, sample: int, **__: Any) -> Estimate:
        seen.append(sample)
        return Estimate(*told[len(seen) - 1])

    monkeypatch.setattr(engines, "estimate_pairs", estimated)
    if refused:
        with pytest.raises(UsageError, match=r"about 20 pairs lie within 0 .* the limit of 10"):
            index.find_pairs(cutoff=0.0, max_pairs=10, where=Filter(min_bytes=10**9))
    else:
        index.find_pairs(cutoff=0.0, max_pairs=10, where=Filter(min_bytes=10**9))
    assert seen == samples
