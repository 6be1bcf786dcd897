"""annidx.graphs: graphs on disk, made from segments, checked before they are loaded."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annidx import graphs
from annidx.descriptors import THUMB
from annidx.errors import IndexDamaged
from annidx.search import graph as searched
from annidx.search.graph import EF_CONSTRUCTION, SELF_TARGET, Graph
from annidx.search.recall import Certificate
from annidx.search.vectors import Stored
from annidx.store import files, identity
from annidx.store.manifest import GraphEntry, Manifest, Root, SegmentEntry
from annidx.store.rowset import Rowset
from annidx.store.snapshot import Snapshot
from tests.making import add_segment, copies, record, thumbs

ENTRY = GraphEntry("thumb", "aa", 1, "bb", (), 1, None, None, None, 0, 1.0, True)


def opened(
    index: Path, entries: Sequence[SegmentEntry], graph_entries: Sequence[GraphEntry] = ()
) -> Snapshot:
    roots = (Root(1, b"/one"),)
    return Snapshot(index, Manifest(1, "", roots, tuple(entries), tuple(graph_entries)))


def segment(index: Path, stored: Stored, first: int = 0) -> SegmentEntry:
    """Write a segment of pictures with these thumbs."""
    records = []
    for number, row in enumerate(stored, start=first):
        one = record(number)
        records.append(replace(one, descriptors={**one.descriptors, "thumb": row.tobytes()}))
    return add_segment(index, records, "pictures")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("graphs") / "index"
    identity.create(place)
    return place


@pytest.fixture(scope="module")
def small(index: Path) -> Snapshot:
    """Forty pictures with a near-copy each, in two segments; the first is removed."""
    stored = thumbs(40, 1)
    first = segment(index, stored)
    second = segment(index, copies(THUMB, stored, 2), first=40)
    return opened(index, [replace(first, removed=((0, 1),)), second])


@pytest.fixture(scope="module")
def made(small: Snapshot) -> GraphEntry:
    return make(small)


def test_vectors_of(small: Snapshot) -> None:
    vectors = graphs.vectors_of(small, "thumb")
    assert np.array_equal(vectors.take(np.arange(40)), thumbs(40, 1))
    assert np.flatnonzero(~vectors.live).tolist() == [0]


def test_what_is_made(index: Path, small: Snapshot, made: GraphEntry) -> None:
    assert (made.metric, made.nodes, made.found_itself, made.usable) == ("thumb", 79, 1.0, True)
    assert made.segments == tuple(entry.sha256 for entry in small.pictures.entries)
    assert (made.sampled_pairs, made.recall, made.recall_high) == (78, 1.0, 1.0)
    assert made.recall_low is not None
    assert 0.9 < made.recall_low < 1.0
    path = index / "graphs" / f"{made.sha256}.hnsw"
    assert files.sha256_of(path) == made.sha256
    assert path.stat().st_size == made.size
    assert {stat.S_IMODE(each.stat().st_mode) for each in (index / "graphs").iterdir()} == {0o600}
    assert list((index / "tmp").iterdir()) == []
    Snapshot(index, replace(small.manifest, graphs=(made,))).graph(made)  # whole


def make(shot: Snapshot, *, threads: int = 1) -> GraphEntry:
    """Make a graph for thumb over all segments."""
    segments = [entry.sha256 for entry in shot.pictures.entries]
    entry = graphs.make(shot, "thumb", segments, threads=threads)
    assert entry is not None
    return entry


def load_made(shot: Snapshot, entry: GraphEntry) -> Graph:
    """Load a graph that was made after its snapshot was opened."""
    again = Snapshot(shot.index, replace(shot.manifest, graphs=(entry,)))
    (usable,) = graphs.usable(again, "thumb")
    placed = graphs.load(again, usable)
    assert placed.first == usable.covers.start
    return placed.graph


def test_what_is_made_can_be_loaded(small: Snapshot, made: GraphEntry) -> None:
    graph = load_made(small, made)
    assert graph.nodes == made.nodes
    assert np.sort(graph.members).tolist() == list(range(1, 80))


def test_the_same_graph_again(tmp_path: Path) -> None:
    """Few vectors give the same file, byte by byte: that must not be in the way."""
    index = tmp_path / "index"
    identity.create(index)
    one = opened(index, [segment(index, thumbs(3, 1))])
    for _ in range(3):
        assert load_made(one, make(one)).nodes == 3


def test_the_same_graph_of_other_rows(tmp_path: Path) -> None:
    """Equal vectors, hence perhaps equal files: each graph must still know its own rows."""
    index = tmp_path / "index"
    identity.create(index)
    first = opened(index, [segment(index, thumbs(3, 1))])
    longer = segment(index, np.concatenate([thumbs(1, 9), thumbs(3, 1)]))
    second = opened(index, [replace(longer, removed=((0, 1),))])
    entries = [make(each) for each in (first, second)]
    assert sorted(load_made(first, entries[0]).members) == [0, 1, 2]
    assert sorted(load_made(second, entries[1]).members) == [1, 2, 3]


def test_a_damaged_graph_is_never_loaded(tmp_path: Path) -> None:
    """A flipped bit can crash the process inside nmslib: the hash is looked at first."""
    index = tmp_path / "index"
    identity.create(index)
    shot = opened(index, [segment(index, thumbs(2, 1))])
    entry = make(shot)
    for path in (index / "graphs").iterdir():
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        assert_damaged(shot, entry, path)
        path.unlink()
        assert_damaged(shot, entry, path)
        path.write_bytes(whole)
        assert load_made(shot, entry).nodes == 2


def assert_damaged(shot: Snapshot, entry: GraphEntry, path: Path) -> None:
    with pytest.raises(IndexDamaged, match=rf"{path}: .*annidx build"):
        load_made(shot, entry)


@pytest.mark.parametrize(
    ("certificate", "share", "usable"),
    [
        (Certificate(100, 100, 1.0, 0.96, 1.0), 1.0, True),
        (Certificate(0, 0, None, None, None), 1.0, True),
        (Certificate(100, 90, 0.9, 0.82, 0.95), 1.0, False),
        (Certificate(100, 100, 1.0, 0.96, 1.0), SELF_TARGET - 0.001, False),
    ],
)
def test_only_a_graph_that_meets_its_targets_is_usable(
    small: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
    certificate: Certificate,
    share: float,
    usable: bool,
) -> None:
    monkeypatch.setattr(graphs, "certify", lambda *_: certificate)
    monkeypatch.setattr(searched, "_share_found", lambda *_: share)
    entry = make(small)
    assert (entry.usable, entry.recall, entry.found_itself) == (usable, certificate.recall, share)


@pytest.mark.parametrize(
    ("high", "share", "was", "least", "usable"),
    [
        (0.9995, 1.0, True, 0.999, True),
        (0.9985, 1.0, True, 0.999, None),  # used so far, and worth another try
        (0.9985, 1.0, False, 0.999, False),  # tried before
        (0.9985, 1.0, False, 0.99, True),
        (0.9985, 0.9, False, 0.99, False),
        (None, 1.0, True, 1.0, True),
    ],
)
def test_an_old_graph_is_judged_by_what_is_asked_for_now(
    small: Snapshot,
    high: float | None,
    share: float,
    was: bool,
    least: float,
    usable: bool | None,
) -> None:
    entry = replace(make(small), recall_high=high, found_itself=share, usable=was)
    judged = graphs.judged(entry, least)
    assert (None if judged is None else judged.usable) == usable
    assert judged is None or replace(judged, usable=was) == entry


def test_a_poor_graph_is_built_again_with_more_effort(
    small: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And when it gets better, it is used."""
    tried: list[int] = []
    built = searched._built

    def noted(points: Any, ef: int, threads: int) -> Any:
        tried.append(ef)
        return built(points, ef, threads)

    poor, good = (
        Certificate(100, found, found / 100, found / 101, (found + 1) / 101) for found in (50, 100)
    )
    monkeypatch.setattr(searched, "_built", noted)
    monkeypatch.setattr(graphs, "certify", lambda *_: good if len(tried) > 1 else poor)
    entry = make(small)
    assert tried == list(EF_CONSTRUCTION)
    assert (entry.usable, entry.recall) == (True, 1.0)


def test_a_graph_whose_nodes_do_not_find_themselves_can_be_published(
    small: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entry goes into the manifest, as JSON: numbers of Python and not of numpy."""
    built = searched._built

    def astray(points: Any, ef: int, threads: int) -> Any:
        return built(points[::-1] + np.float32(1), ef, threads)

    monkeypatch.setattr(searched, "_built", astray)
    entry = make(small)
    assert (entry.usable, type(entry.usable), type(entry.found_itself)) == (False, bool, float)
    assert entry.found_itself < SELF_TARGET
    manifest = replace(small.manifest, graphs=(entry,))
    assert Manifest.from_json(manifest.to_json(), "here").graphs == (entry,)


def test_an_index_whose_path_is_no_utf8(tmp_path: Path) -> None:
    index = tmp_path / os.fsdecode(b"\xff\xfe latin")
    identity.create(index)
    shot = opened(index, [segment(index, thumbs(3, 1))])
    assert load_made(shot, make(shot)).nodes == 3


def test_a_graph_over_some_of_the_segments(small: Snapshot) -> None:
    (_, second) = small.pictures.entries
    entry = graphs.make(small, "thumb", [second.sha256], threads=1)
    assert entry is not None
    assert (entry.segments, entry.nodes) == ((second.sha256,), 40)
    again = Snapshot(small.index, replace(small.manifest, graphs=(entry,)))
    (usable,) = graphs.usable(again, "thumb")
    assert usable.covers == range(40, 80)
    assert sorted(graphs.load(again, usable).graph.members) == list(range(40))
    vectors = graphs.vectors_of(again, "thumb")
    assert graphs.uncovered_rows(vectors.live, [usable]).tolist() == list(range(1, 40))


# --- which graphs answer --------------------------------------------------------------------------


def rows(*sizes: tuple[int, int]) -> list[SegmentEntry]:
    """Return entries of (rows, removed rows); their names are their places."""
    return [
        SegmentEntry(str(at), "pictures", count, 1, ((0, gone),) if gone else ())
        for at, (count, gone) in enumerate(sizes)
    ]


class Shot:
    """As much of a snapshot as is needed here, without files."""

    def __init__(self, entries: list[SegmentEntry], graph_entries: Sequence[GraphEntry]) -> None:
        self.pictures = Rowset([])
        self.pictures.entries = entries
        self.pictures.starts = np.cumsum([0, *(entry.rows for entry in entries)])
        self.manifest = Manifest(1, "", graphs=tuple(graph_entries))


def shot(entries: list[SegmentEntry], *graph_entries: GraphEntry) -> Snapshot:
    made: object = Shot(entries, graph_entries)
    assert not isinstance(made, Snapshot)
    return made  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("covers", "sizes", "covered"),
    [
        (("0",), [(10, 0)], range(10)),
        (("0",), [(10, 3), (5, 0)], range(10)),
        (("0", "1"), [(10, 3), (5, 0)], range(15)),
        (("1",), [(10, 0), (5, 0)], range(10, 15)),
        (("1", "2"), [(10, 0), (5, 0), (2, 0), (9, 0)], range(10, 17)),
        ((), [(10, 0)], range(0)),
        (("0", "1"), [(10, 0)], range(0)),  # a segment that is gone
        (("9",), [(10, 0)], range(0)),
        (("0", "2"), [(10, 0), (5, 0), (2, 0)], range(0)),  # not side by side
        (("1", "0"), [(10, 0), (5, 0)], range(0)),
    ],
)
def test_covered_rows(
    covers: tuple[str, ...], sizes: list[tuple[int, int]], covered: range
) -> None:
    entry = replace(ENTRY, segments=covers)
    assert graphs.covered_rows(shot(rows(*sizes)), covers) == covered
    expected = [(entry, covered)] if covered else []
    assert graphs.usable(shot(rows(*sizes), entry), "thumb") == expected


def test_usable() -> None:
    here = rows((10, 0))
    good = replace(ENTRY, segments=("0",))
    assert graphs.usable(shot(here), "thumb") == []
    assert graphs.usable(shot(here, good), "signature") == []
    assert graphs.usable(shot(here, replace(good, usable=False)), "thumb") == []
    both = shot(here, replace(good, metric="signature"), good)
    assert graphs.usable(both, "thumb") == [(good, range(10))]
