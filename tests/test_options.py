"""No option of a search is ignored: each changes what is asked of the engines, or the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annidx import Filter, Index, decisions
from annidx.asking import (
    GroupOptions,
    HasOptions,
    NeighbourOptions,
    PairOptions,
    QueryOptions,
    Search,
    VectorOptions,
)
from annidx.commands.searching import _GROUPS
from annidx.decisions import Decision, Subject
from annidx.queries import read_query
from tests.archive import RECORDS, index_of, path_of

NEAR: dict[str, Any] = {"cutoff": 900.0}
QUERY = 3
VALUES: dict[str, Callable[[Path], Any]] = {
    "cutoff": lambda _: 5.0,
    "match": lambda _: "loose",
    "metric": lambda _: "signature",
    "exact": lambda _: True,
    "engine": lambda _: "exact",
    "where": lambda _: Filter(min_bytes=5000),
    "companions": lambda _: True,
    "decided": lambda _: True,
    "k": lambda _: 1,
    "limit": lambda _: 1,
    "transforms": lambda _: "rotations",
    "kinds": lambda _: "identical",
    "max_pairs": lambda _: 123_456,
    "between": lambda place: (place / "root1", place / "root2"),
    "reference": lambda place: place / "root2",
    "since": lambda _: "2023-11-16",
    "linkage": lambda _: "complete",
    "unconfirmed": lambda _: True,
}
OF_THE_FINGERPRINT = {"views", "fpr", "false_pairs", "cutoff_from"}
"""See tests/test_recognition.py."""
FILTERS: dict[str, Any] = {
    "paths": "*.jpg",
    "min_bytes": 5000,
    "min_pixels": (640, 480),
    "pixel_size": "different",
    "formats": "raw",
    "taken_from": "2019-08-23",
    "taken_until": "2019-08-23",
}
METHODS: dict[str, Any] = {
    "query": QueryOptions,
    "query_many": QueryOptions,
    "query_vectors": VectorOptions,
    "has": HasOptions,
    "has_many": HasOptions,
    "neighbours": NeighbourOptions,
    "find_pairs": PairOptions,
    "pairs": PairOptions,
    "groups": GroupOptions,
}
APART = [
    Decision(
        "not-duplicate",
        Subject(one.pixel_hash, one.file.path),
        Subject(other.pixel_hash, other.file.path),
    )
    for one, other in [
        *((RECORDS[-1], other) for other in RECORDS[16:64] if other.image_id % 16 == QUERY),
        *((RECORDS[at], RECORDS[at + 16]) for at in range(18, 32, 4)),  # of equal pixels
    ]
]
ALL = [
    (method, name)
    for method, kind in METHODS.items()
    for name in kind.__annotations__
    if (method, name) != ("query_vectors", "metric")  # which takes other vectors
    and name not in OF_THE_FINGERPRINT
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    made = index_of(tmp_path_factory.mktemp("options").resolve() / "index", RECORDS)
    decisions.record(made.snapshot.index, APART, "")
    return made


def source(index: Index) -> Any:
    """Return the RAW file whose JPEG lies beside it, as a query that is in the archive."""
    row = RECORDS[-1]
    return replace(row, file=replace(row.file, path=path_of(index, row), companions=(), inode=0))


def asked(index: Index, method: str, options: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Call a method; return its answer and what the engines were called with."""
    calls: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("search", "join"):
            patch.setattr(index.engines, name, spied(getattr(index.engines, name), calls))
        found = getattr(index, method)(*arguments(index, method), **options)
    return plain(found), calls


def arguments(index: Index, method: str) -> list[Any]:
    if method in ("query", "has"):
        return [source(index)]
    if method in ("query_many", "has_many"):
        return [[source(index), *(replace(row, content_hash=b"x" * 32) for row in RECORDS[:3])]]
    if method == "query_vectors":
        stored = np.frombuffer(RECORDS[QUERY].descriptors["thumb"], np.uint8)[None]
        return [np.repeat(stored, 2, axis=0)]
    return []


def spied(call: Any, calls: list[Any]) -> Any:
    def wrapper(*positional: Any, **named: Any) -> Any:
        keep = named.pop("keep", None)
        found = call(*positional, **named, **({} if keep is None else {"keep": keep}))
        calls.append((plain(positional[1:]), plain(named)))
        return found

    return wrapper


def plain(value: Any) -> Any:
    """Return something that can be compared, without what differs from call to call."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if hasattr(value, "to_pylist"):
        return value.to_pylist()
    if hasattr(value, "answer"):
        told = replace(value.answer, seconds=0.0)
        return [repr(told), repr(getattr(value, "nearest", None)), *map(plain, value)]
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return repr(value)


@pytest.mark.parametrize(("method", "option"), ALL, ids=str)
def test_every_option_reaches_the_engines_or_the_answer(
    index: Index, method: str, option: str
) -> None:
    value = VALUES[option](index.snapshot.index)
    base = {} if option in ("match", "metric") else NEAR
    before, calls = asked(index, method, base)
    after, other_calls = asked(index, method, base | {option: value})
    assert (after, other_calls) != (before, calls)


@pytest.mark.parametrize("field", FILTERS)
@pytest.mark.parametrize("method", ["query", "has", "neighbours", "find_pairs", "groups"])
def test_every_field_of_a_filter_reaches_them(index: Index, method: str, field: str) -> None:
    before = asked(index, method, NEAR)
    assert asked(index, method, NEAR | {"where": Filter(**{field: FILTERS[field]})}) != before
    assert asked(index, method, NEAR | {"where": Filter()}) == before


def test_nothing_was_forgotten() -> None:
    """Here, and on the command line."""
    options = {each.name for each in fields(Search)}
    assert (
        {*VALUES, *OF_THE_FINGERPRINT}
        == options
        == {name for group in _GROUPS.values() for name in group}
    )
    assert set(FILTERS) == {each.name for each in fields(Filter)}


def test_engines_are_called_as_asked(index: Index) -> None:
    for engine in ("graph", "exact", "auto"):
        _, [(_, named)] = asked(index, "query", {"engine": engine})
        assert named["engine"] == repr(engine)
        _, [(_, named)] = asked(index, "find_pairs", {"engine": engine})
        assert (named["engine"], named["exhaustive"]) == (repr(engine), "False")
    _, [(_, named)] = asked(index, "find_pairs", {"exact": True})
    assert named["exhaustive"] == "True"
    _, [(_, named)] = asked(index, "query", {"exact": True})
    assert named["engine"] == repr("exact")


def test_many_are_asked_in_one_pass(index: Index) -> None:
    rows = [replace(row, content_hash=b"x" * 32) for row in RECORDS[:20]]
    for transforms in ("none", "all"):
        with pytest.MonkeyPatch.context() as patch:
            calls: list[Any] = []
            patch.setattr(index.engines, "search", spied(index.engines.search, calls))
            together = index.query_many(rows, k=None, transforms=transforms)
            assert len(calls) == 1
        alone = [index.query(row, k=None, transforms=transforms) for row in rows]
        assert [list(each) for each in together] == [list(each) for each in alone]
    assert [list(each) for each in index.has_many(rows)] == [list(index.has(row)) for row in rows]
    assert index.has_many([]) == []
    assert read_query(rows[0]) is rows[0]
