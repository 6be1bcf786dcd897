"""Filters, sides, presets, limits and turned queries: as if there were no other pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annidx import Filter, Index, globs
from annidx.asking import Search
from annidx.descriptors import THUMB
from annidx.errors import UsageError
from annidx.found import Match, Pair
from annidx.model import Record
from annidx.search.selfjoin import RowPairs
from annidx.search.transforms import NAMES, SETS, TRANSPOSING, turned
from annidx.search.vectors import distances
from annidx.selection import PairFilter, _texts
from tests.archive import DAY_NS, FIRST_NS, RECORDS, index_of, path_of, query_of

EVERYTHING: Any = {"k": None, "cutoff": 8000.0}

Sized = tuple[int, int]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return index_of(tmp_path_factory.mktemp("selection").resolve() / "index", RECORDS)


@pytest.fixture(scope="module")
def by_path(index: Index) -> dict[bytes, Record]:
    gone = RECORDS[0::3][0]
    return {path_of(index, row): row for row in RECORDS if row is not gone}


@pytest.fixture(scope="module")
def whole(index: Index) -> list[Pair]:
    return list(index.find_pairs(cutoff=2500))


def upright(row: Record) -> Sized:
    size = row.width, row.height
    return size[::-1] if row.orientation >= 5 else size


def passes(where: Filter, path: bytes, row: Record) -> bool:
    """Tell whether a picture passes a filter, by the words of its documentation."""
    least, kinds = where.min_pixels, {name.upper() for name in where.formats}
    short, long = sorted((row.width, row.height))
    if isinstance(least, tuple):
        large = short >= min(least) and long >= max(least)
    else:
        large = row.width * row.height >= least
    if "JPG" in kinds:
        kinds |= {"JPEG", "MPO"}
    if "RAW" in kinds:
        kinds |= {"NEF"}
    first, last = str(where.taken_from or ""), str(where.taken_until or "")
    dated = bool(row.taken) or not (first or last)
    return (
        row.file.size >= where.min_bytes
        and large
        and (not kinds or row.format in kinds)
        and (dated and row.taken >= first and (not last or row.taken[: len(last)] <= last))
        and (not where.paths or globs.matcher(_texts(where.paths))(path))
    )


FILTERS = st.builds(
    Filter,
    paths=st.sampled_from([(), (), "*.jpg", "2019/", ["2020/", "*.png"], os.fsdecode(b"*/\xff/")]),
    min_bytes=st.sampled_from([0, 0, 3000, 8000]),
    min_pixels=st.sampled_from([0, 0, 100_000, (480, 640), (4000, 1)]),
    formats=st.sampled_from([(), (), "jpg", ["raw", "PNG"], "TIFF"]),
    taken_from=st.sampled_from([None, None, "2019", "2019-08-31", "2019-08-22T18:30:01"]),
    taken_until=st.sampled_from([None, None, "2019", "2019-08", "2019-08-22T18:30"]),
    pixel_size=st.sampled_from([None, None, "same", "different"]),
)


# --- filters --------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(where=FILTERS, exact=st.booleans())
def test_pairs_filtered_are_pairs_filtered_after(
    index: Index, whole: list[Pair], by_path: dict[bytes, Record], where: Filter, exact: bool
) -> None:
    expected = [
        pair
        for pair in whole
        if all(passes(where, path, by_path[path]) for path in (pair.raw_a, pair.raw_b))
        and (
            where.pixel_size is None
            or (upright(by_path[pair.raw_a]) == upright(by_path[pair.raw_b]))
            == (where.pixel_size == "same")
        )
    ]
    found = index.find_pairs(cutoff=2500, where=where, exact=exact)
    assert list(found) == expected
    assert found.answer.complete


@settings(max_examples=25, deadline=None)
@given(
    where=FILTERS,
    engine=st.sampled_from(["auto", "graph", "exact"]),
    number=st.integers(0, len(RECORDS) - 1),
    k=st.integers(1, 8),
)
def test_matches_filtered_are_matches_filtered_after(
    index: Index, by_path: dict[bytes, Record], where: Filter, engine: Any, number: int, k: int
) -> None:
    query = query_of(RECORDS[number])
    expected = [
        match
        for match in index.query(query, k=None, cutoff=3000, engine=engine)
        if passes(where, match.raw_path, by_path[match.raw_path])
        and (
            where.pixel_size is None
            or (upright(by_path[match.raw_path]) == upright(query)) == (where.pixel_size == "same")
        )
    ]
    found = index.query(query, k=None, cutoff=3000, where=where, engine=engine)
    assert (list(found), found.answer.complete) == (expected, True)
    some = index.query(query, k=k, cutoff=3000, where=where, engine=engine)
    assert (list(some), some.answer.complete) == (expected[:k], len(expected) <= k)
    nearest = index.has(query, cutoff=0.0, where=where, engine=engine).nearest
    if expected:
        assert nearest == expected[0]


def test_an_unknown_format_is_refused(index: Index) -> None:
    with pytest.raises(UsageError, match=r"unknown format 'JPGE': expected some of AVIF, .*, RAW"):
        index.find_pairs(where=Filter(formats=["PNG", "JPGE"]))
    assert not index.find_pairs(where=Filter(formats=["bmp", "CR3"]))  # known, and not there


def test_a_mask_is_made_once_for_many_questions(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Filter] = []
    plain = index._selection._mask

    def counted(where: Filter) -> Any:
        made.append(where)
        return plain(where)

    monkeypatch.setattr(index._selection, "_mask", counted)
    for _ in range(3):
        index.query(query_of(RECORDS[0]), where=Filter(min_bytes=4321, pixel_size="same"))
        index.find_pairs(where=Filter(min_bytes=4321))
    assert made == [Filter(min_bytes=4321)]


def test_pixel_size_needs_one(index: Index, by_path: dict[bytes, Record]) -> None:
    where = Filter(pixel_size="same")
    with pytest.raises(UsageError, match="pixel_size compares width and height, and <vector 0>"):
        index.query_vectors(np.zeros((1, 1200), np.uint8), where=where)
    picture = np.zeros((480, 640, 3), np.uint8)
    found = index.query(picture, where=where, **EVERYTHING)
    assert found
    assert {upright(by_path[match.raw_path]) for match in found} == {(640, 480)}


# --- transforms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("transforms", list(SETS))
@pytest.mark.parametrize("engine", ["graph", "exact"])
def test_turned_queries_against_all_distances(
    index: Index, by_path: dict[bytes, Record], transforms: Any, engine: Any
) -> None:
    paths = list(by_path)
    stored = stored_of([by_path[path] for path in paths])
    turns = set()
    for number in range(0, 64, 7):
        query = query_of(RECORDS[number])
        apart = np.stack(
            [
                distances(THUMB, turned(THUMB, stored_of([query]), name), stored)
                for name in SETS[transforms]
            ]
        )
        expected = sorted(
            (float(apart[:, at].min()), path, SETS[transforms][int(apart[:, at].argmin())])
            for at, path in enumerate(paths)
            if apart[:, at].min() <= 900
        )
        found = index.query(query, k=None, cutoff=900, transforms=transforms, engine=engine)
        assert [(each.distance, each.raw_path, each.transform) for each in found] == expected
        for k in (1, 3, len(expected)):
            some = index.query(query, k=k, cutoff=900, transforms=transforms, engine=engine)
            assert (list(some), some.answer.complete) == (list(found)[:k], len(expected) <= k)
        turns |= {each.transform for each in found}
    assert transforms == "none" or len(turns) > 1
    assert turns <= set(SETS[transforms])


def stored_of(records: list[Record]) -> np.ndarray:
    return np.frombuffer(b"".join(row.descriptors["thumb"] for row in records), np.uint8).reshape(
        len(records), -1
    )


def test_a_turned_query_has_a_turned_size(index: Index, by_path: dict[bytes, Record]) -> None:
    query = query_of(replace(RECORDS[5], width=640, height=480, orientation=1))
    where = Filter(pixel_size="same")
    found = index.query(query, where=where, transforms="all", **EVERYTHING)
    assert {each.transform in TRANSPOSING for each in found} == {True, False}
    for match in found:
        turned_size = (480, 640) if match.transform in TRANSPOSING else (640, 480)
        assert upright(by_path[match.raw_path]) == turned_size


def test_the_transform_is_the_one_that_was_done_to_the_query(index: Index) -> None:
    stored = stored_of([RECORDS[2]])
    for name in NAMES:
        query = turned(THUMB, stored, name)
        back = {"rotate-90": "rotate-270", "rotate-270": "rotate-90"}.get(name, name)
        (found,) = index.query_vectors(query, transforms="all", k=1, cutoff=0)
        assert [(match.image_id, match.transform) for match in found] == [(2, back)]
        assert index.has(query.reshape(20, 20, 3), transforms="all", cutoff=0)


# --- pairs ----------------------------------------------------------------------------------------


def inside(index: Index, *folders: str) -> Callable[[bytes], bool]:
    heads = [
        f"{index.snapshot.index}/{folder}/".encode("utf-8", "surrogateescape") for folder in folders
    ]
    return lambda path: any(path.startswith(head) for head in heads)


PLACES = ["root1", "root2/2019", "root1/2019/trip", "root2/2020", "root1/cards/\udcff", ""]


@settings(max_examples=10, deadline=None)
@given(one=st.sampled_from(PLACES), other=st.sampled_from(PLACES), days=st.integers(0, 4))
def test_sides_are_a_filter_after(
    index: Index, whole: list[Pair], one: str, other: str, days: int
) -> None:
    place = index.snapshot.index
    in_one, in_other = inside(index, one) if one else inside(index), inside(index, other)
    if one == "":
        in_one = inside(index, "root1", "root2")
    if other == "":
        in_other = inside(index, "root1", "root2")

    def both_ways(pair: Pair) -> bool:
        a, b = pair.raw_a, pair.raw_b
        return (in_one(a) and in_other(b)) or (in_other(a) and in_one(b))

    between = (place / one, os.fsencode(place / other))
    assert list(index.find_pairs(cutoff=2500, between=between)) == list(filter(both_ways, whole))
    reference = [place / one, place / other]
    outside = [
        pair
        for pair in whole
        if not all(in_one(path) or in_other(path) for path in (pair.raw_a, pair.raw_b))
    ]
    assert list(index.find_pairs(cutoff=2500, reference=reference)) == outside
    new = {row.image_id for row in RECORDS if row.first_seen_ns >= FIRST_NS + days * DAY_NS}
    paths = {path_of(index, row) for row in RECORDS if row.image_id in new}
    fresh = [pair for pair in whole if {pair.raw_a, pair.raw_b} & paths]
    since = datetime.fromtimestamp(FIRST_NS / 1e9, UTC).timestamp() + days * 86_400
    options: Any = {"cutoff": 2500, "since": datetime.fromtimestamp(since, UTC)}
    assert list(index.find_pairs(**options)) == fresh
    assert list(index.find_pairs(**options, between=between)) == list(filter(both_ways, fresh))


@pytest.mark.parametrize("folder", ["/nowhere", "", "root3", "/", "root1/2019/IMG_0"])
@pytest.mark.parametrize("option", ["between", "reference"])
def test_a_folder_without_pictures_is_refused(index: Index, folder: str, option: str) -> None:
    if folder == "/":
        assert index.find_pairs(between=("/", "/"))
        return
    given_as: Any = (folder, "/") if option == "between" else folder
    with pytest.raises(UsageError) as caught:
        index.find_pairs(**{option: given_as})
    roots = ", ".join(f"{index.snapshot.index}/root{number}" for number in (1, 2))
    shown = folder or "''"
    expected = f"{option}: no picture of the index lies in {shown}; its roots: {roots}"
    assert str(caught.value) == expected


def test_a_file_a_link_and_a_relative_name_are_folders_too(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(index.snapshot.index)
    monkeypatch.chdir(tmp_path)
    root = index.snapshot.index / "root1"
    whole = list(index.find_pairs(between=(root, "/")))
    for name in ("link/root1", "link/root2/../root1", "./link/root1/"):
        assert list(index.find_pairs(between=(name, "/"))) == whole
    pair = whole[0]
    assert list(index.find_pairs(between=(pair.raw_a, pair.raw_b), cutoff=pair.distance)) == [pair]


@pytest.mark.parametrize("limit", [1, 2, 5, 17, 10_000])
def test_the_nearest_pairs(index: Index, limit: int) -> None:
    whole = index.find_pairs(cutoff=900)
    found = index.find_pairs(cutoff=900, limit=limit)
    assert list(found) == list(whole)[:limit]
    assert (found.answer.complete, found.answer.limit) == (limit >= len(whole), limit)
    table = index.pairs(cutoff=900, limit=limit)
    assert table.num_rows == len(found)
    assert table.schema.metadata[b"complete"] == (b"true" if limit >= len(whole) else b"false")


@pytest.mark.parametrize("limit", [1, 4, 50, 10_000])
def test_the_nearest_matches_of_all_queries(index: Index, limit: int) -> None:
    queries = [query_of(row) for row in RECORDS[:8]]
    for ask in (
        lambda **options: index.query_many(queries, k=3, cutoff=900, **options),
        lambda **options: index.neighbours(k=3, cutoff=900, **options).matches,
    ):
        whole = ask()
        every = sorted(
            (match.distance, at, match.raw_path) for at, each in enumerate(whole) for match in each
        )
        found = {each.query: each for each in ask(limit=limit)}
        left: list[Any] = [
            (match.distance, at, match.raw_path)
            for at, each in enumerate(whole)
            for match in found.get(each.query, ())
        ]
        assert sorted(left) == every[:limit]
        for each in found.values():
            before = next(one for one in whole if one.query == each.query)
            assert list(each) == list(before)[: len(each)]
            assert each.answer.complete == (before.answer.complete and len(each) == len(before))


def test_pairs_may_come_in_any_portions(index: Index) -> None:
    """A filter of pairs looks at each pair alone, so that a join can stream."""
    wanted = Search(match="exact", where=Filter(pixel_size="different"))
    live = np.flatnonzero(index.snapshot.pictures.live)
    one, other = (live[at] for at in np.triu_indices(len(live), 1))
    every = RowPairs(one, other, np.zeros(len(one)))
    keep = PairFilter(index.snapshot, index._selection, wanted)
    whole = keep(every)
    assert 0 < whole.sum() < len(whole)
    parts = PairFilter(index.snapshot, index._selection, wanted)
    halves = [every.where(np.arange(len(one)) % 7 == part) for part in range(7)]
    assert sum(int(parts(half).sum()) for half in halves) == whole.sum()
    everything = PairFilter(index.snapshot, index._selection, Search())
    assert (~everything(every)).sum() == everything.companions_left_out == 1


# --- presets --------------------------------------------------------------------------------------


def test_match_exact_is_the_same_bytes_but_for_metadata(index: Index) -> None:
    found = index.find_pairs(match="exact")
    same = [pair for pair in index.find_pairs(cutoff=0) if pair.kind != "similar"]
    assert list(found) == same
    assert {pair.kind for pair in found} == {"identical", "same-pixels"}
    for number in range(0, 64, 3):
        query = query_of(RECORDS[number])
        whole = index.query(query, k=None, cutoff=0)
        expected = [match for match in whole if match.kind != "similar"]
        assert list(index.query(query, k=None, match="exact")) == expected
        assert list(index.query(query, k=1, match="exact")) == expected[:1]
        near = index.has(query, match="exact")
        assert list(near) == expected[:1]
        assert near.nearest is not None


def test_match_exact_needs_bytes(index: Index) -> None:
    with pytest.raises(UsageError, match="match 'exact' compares the bytes of files, and <image>"):
        index.query(np.zeros((20, 20, 3), np.uint8), match="exact")
    with pytest.raises(UsageError, match="<vector 0> has none: ask by a path or by bytes"):
        index.query_vectors(np.zeros((1, 1200), np.uint8), match="exact")


@pytest.mark.parametrize(("name", "cutoff"), [("strict", 100), ("normal", 300), ("loose", 600)])
def test_presets_are_cutoffs(index: Index, name: Any, cutoff: float) -> None:
    found, by_number = index.find_pairs(match=name), index.find_pairs(cutoff=cutoff)
    assert list(found) == list(by_number)
    assert found.answer.cutoff == cutoff
    assert len(index.groups(match=name)) == len(index.groups(cutoff=cutoff))


# --- groups ---------------------------------------------------------------------------------------


def test_reference_pictures_free_no_bytes(index: Index) -> None:
    folder = index.snapshot.index / "root1"
    mixed = 0
    for group in index.groups(cutoff=300, reference=folder):
        sizes = dict(zip(group.raw_paths, group.sizes, strict=True))
        protected = [path for path in group.raw_paths if path.startswith(os.fsencode(folder))]
        assert list(group.protected) == protected
        rest = [size for path, size in sizes.items() if path not in protected]
        assert rest  # or they would not have been compared
        assert group.freed_bytes == sum(rest) - (0 if protected else max(rest))
        mixed += bool(protected)
    assert mixed
    assert not any(group.protected for group in index.groups(cutoff=300))


# --- order and nearness ---------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    cutoffs=st.tuples(st.floats(0, 3000), st.floats(0, 3000)).map(sorted),
    ks=st.tuples(st.integers(1, 12), st.integers(1, 12)).map(sorted),
    number=st.integers(0, len(RECORDS) - 1),
    engine=st.sampled_from(["graph", "exact"]),
    transforms=st.sampled_from(list(SETS)),
)
def test_more_is_found_with_a_greater_k_or_cutoff(
    index: Index, cutoffs: list[float], ks: list[int], number: int, engine: Any, transforms: Any
) -> None:
    query = query_of(RECORDS[number])
    options: Any = {"engine": engine, "transforms": transforms}

    def ask(k: int | None, cutoff: float) -> list[Match]:
        return list(index.query(query, k=k, cutoff=cutoff, **options))

    wide = ask(None, cutoffs[1])
    assert ask(None, cutoffs[0]) == [match for match in wide if match.distance <= cutoffs[0]]
    assert ask(ks[0], cutoffs[1]) == wide[: ks[0]]
    assert ask(ks[1], cutoffs[1]) == wide[: ks[1]]
    assert [(match.distance, match.raw_path) for match in wide] == sorted(
        (match.distance, match.raw_path) for match in wide
    )


def test_symmetric_and_never_itself(index: Index, by_path: dict[bytes, Record]) -> None:
    near: dict[tuple[bytes, bytes], float] = {}
    for path, row in by_path.items():
        query = replace(row, file=replace(row.file, path=path, companions=()))
        for match in index.query(query, k=None, cutoff=900, companions=True):
            near[path, match.raw_path] = match.distance
    assert near
    assert all(a != b and near[b, a] == distance for (a, b), distance in near.items())
    pairs = index.find_pairs(cutoff=900, companions=True)
    assert {(pair.raw_a, pair.raw_b): pair.distance for pair in pairs} == {
        ends: distance for ends, distance in near.items() if ends[0] < ends[1]
    }
