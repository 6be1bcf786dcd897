"""annidx.asking: what a search may be asked for, before any index is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from annidx import Filter, asking
from annidx.asking import (
    GroupOptions,
    HasOptions,
    NeighbourOptions,
    PairOptions,
    QueryOptions,
    Search,
    VectorOptions,
    moment_ns,
)
from annidx.descriptors import DESCRIPTORS, SIGNATURE, THUMB
from annidx.errors import UsageError

KINDS = [GroupOptions, HasOptions, NeighbourOptions, PairOptions, QueryOptions, VectorOptions]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone(timedelta(hours=1)))


def test_every_option_belongs_to_some_search_and_has_a_default() -> None:
    taken = {name for kind in KINDS for name in kind.__annotations__}
    assert taken == {each.name for each in fields(Search)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_options_of_another_search_are_refused(kind: Any) -> None:
    for each in fields(Search):
        options = {each.name: each.default}
        if each.name in kind.__annotations__:
            found = asking.search(kind, options, DESCRIPTORS)
            of_vectors = kind is VectorOptions and each.name != "metric"
            assert found == (Search(metric="thumb") if of_vectors else Search())
        else:
            with pytest.raises(TypeError, match=f"unexpected option '{each.name}': expected some"):
                asking.search(kind, options)
    with pytest.raises(TypeError, match="unexpected option 'cutof'"):
        asking.search(kind, {"cutof": 3})


@pytest.mark.parametrize(
    ("kind", "options", "held", "metric"),
    [
        (QueryOptions, {}, DESCRIPTORS, "fingerprint"),
        (QueryOptions, {}, ("thumb", "signature"), "thumb"),
        (QueryOptions, {"metric": "signature"}, DESCRIPTORS, "signature"),
        (QueryOptions, {"cutoff": 0.0}, DESCRIPTORS, "thumb"),
        (QueryOptions, {"cutoff": 0.5, "metric": "fingerprint"}, DESCRIPTORS, "fingerprint"),
        (QueryOptions, {"transforms": "all"}, DESCRIPTORS, "thumb"),
        (QueryOptions, {"transforms": "none", "cutoff": None}, DESCRIPTORS, "fingerprint"),
        (QueryOptions, {"match": "strict"}, DESCRIPTORS, "fingerprint"),
        (VectorOptions, {}, DESCRIPTORS, "thumb"),
        (VectorOptions, {"metric": "signature"}, DESCRIPTORS, "signature"),
    ],
)
def test_the_metric_that_is_meant(
    kind: Any, options: dict[str, Any], held: Sequence[str], metric: str
) -> None:
    assert asking.search(kind, options, held).metric == metric


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"match": "near"},
            "match is 'near', expected one of 'exact', 'strict', 'normal', 'loose'",
        ),
        ({"engine": "faiss"}, "engine is 'faiss', expected one of 'auto', 'graph', 'exact'"),
        ({"transforms": "flip"}, "expected one of 'none', 'flips', 'rotations', 'all'"),
        ({"match": "strict", "cutoff": 3.0}, "match 'strict' is a cutoff already"),
        ({"exact": True, "engine": "graph"}, "engine 'graph' does not: give one"),
        ({"limit": 0}, "limit is 0, expected 1 or more"),
        ({"between": "/photos"}, "between is '/photos', expected two folders"),
        ({"between": ("/a", "/b", "/c")}, "expected two folders"),
        ({"between": 5}, "between is 5, expected two folders"),
        ({"where": {"paths": "*"}}, "expected an annidx.Filter"),
    ],
)
def test_what_means_nothing(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Search(**options)


def test_presets() -> None:
    assert Search().cutoff_of(THUMB) is None
    assert Search(cutoff=7).cutoff_of(THUMB) == 7
    assert Search(match="exact").cutoff_of(SIGNATURE) == 0
    for measure in filter(lambda each: not each.needs, DESCRIPTORS.values()):
        named: list[Any] = [
            Search(match=name).cutoff_of(measure) for name in ("strict", "normal", "loose")
        ]
        assert named == sorted(set(named))
        assert named[0] > 0
        assert (named[1], named[2] <= measure.largest) == (measure.cutoff, True)


def test_how_many_false_pairs_are_accepted() -> None:
    asked: dict[str, Any] = {"metric": "fingerprint"}
    assert Search(**asked).chance_of(1000) == 1
    assert Search(**asked, match="strict").chance_of(1000) == 0.01
    assert Search(**asked, match="loose").chance_of(1000) == 100
    assert Search(**asked, false_pairs=0.3).chance_of(1000) == 0.3
    assert Search(**asked, fpr=1e-6).chance_of(1001) == pytest.approx(0.5005)


def test_reference_folders() -> None:
    assert Search().folders == ()
    assert Search(reference="/a").folders == ("/a",)
    assert Search(reference=["/a", b"/b"]).folders == ("/a", b"/b")


# --- moments --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("12h", NOW - timedelta(hours=12)),
        (" 2w ", NOW - timedelta(days=14)),
        ("2026-11-01", datetime(2026, 11, 1)),
        ("2026-11-01T18:30", datetime(2026, 11, 1, 18, 30)),
        ("2026-11-01 18:30:05", datetime(2026, 11, 1, 18, 30, 5)),
        ("2026-11-01T18:30:00+00:00", datetime(2026, 11, 1, 18, 30, tzinfo=UTC)),
        ("2026-11-01T18:30:00Z", datetime(2026, 11, 1, 18, 30, tzinfo=UTC)),
        (date(2026, 11, 1), datetime(2026, 11, 1)),
        (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)),
        (datetime(2026, 11, 1, 5), datetime(2026, 11, 1, 5)),
    ],
)
def test_moments(since: Any, expected: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    assert moment_ns(since, NOW) == round(expected.timestamp()) * 10**9


@pytest.mark.parametrize(
    "since", ["", "yesterday", "7", "7 days", "2026", "2026-13-01", "01.11.2026", "999999w", "d", 5]
)
def test_what_is_no_moment(since: Any) -> None:
    with pytest.raises(UsageError, match=r"since is .*, expected a date such as 2026-11-01"):
        moment_ns(since, NOW)


# --- filters --------------------------------------------------------------------------------------


def test_filters_are_brought_to_one_form() -> None:
    one = Filter(paths="*.jpg", formats=["JPEG"], taken_from=date(2019, 8, 1))
    assert one == Filter(paths=("*.jpg",), formats=("JPEG",), taken_from="2019-08-01")
    assert Filter(taken_until=datetime(2019, 8, 1, 5, 6, 7)).taken_until == "2019-08-01T05:06:07"
    assert Filter(min_pixels=[640, 480]) == Filter(min_pixels=(640, 480))  # type: ignore[arg-type]
    assert Filter(paths=[Path("/p"), b"/\xff"]).paths == ("/p", "/\udcff")
    assert Filter(taken_until="2019-08-01 05:06").taken_until == "2019-08-01T05:06"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_bytes": -1}, "min_bytes is -1, expected 0 or more"),
        ({"min_pixels": -1}, "min_pixels is -1"),
        ({"min_pixels": (640, -1)}, "min_pixels is -1"),
        ({"min_pixels": (640,)}, r"min_pixels is \(640,\), expected a number or two sides such as"),
        ({"taken_from": 5}, "taken_from is 5, expected a time"),
        ({"pixel_size": "other"}, "pixel_size is 'other', expected one of 'same', 'different'"),
        ({"taken_from": "august"}, "taken_from is 'august', expected a time such as 2019, 2019-08"),
        ({"taken_until": "2019-13"}, "taken_until is '2019-13', expected a time"),
        ({"taken_until": "2019-08-22T18"}, "expected a time"),
        ({"taken_until": ""}, "expected a time"),
    ],
)
def test_filters_that_mean_nothing(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Filter(**options)
