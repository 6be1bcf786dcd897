"""annidx.store.snapshot: which state is current, and what a row of it is."""

from __future__ import annotations

import json
import logging
import resource
import stat
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from annidx.errors import IndexDamaged, IndexNotFound, IndexTooNew
from annidx.store import files, identity, snapshot
from annidx.store.manifest import Manifest, Root, SegmentEntry
from annidx.store.rowset import _runs, without
from annidx.store.snapshot import Snapshot
from tests.making import add_segment, failure, record

EMPTY = Manifest(0, "2026-11-05T03:00:00+00:00")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    place = tmp_path / "index"
    identity.create(place)
    return place


# --- an index, or not ---------------------------------------------------------------------------


def test_create(tmp_path: Path) -> None:
    index = tmp_path / "some" / "where"
    identity.create(index)
    marker = json.loads((index / "annidx.json").read_bytes())
    assert marker["format"] == 1
    assert len(marker["index_id"]) == 32
    identity.index_id(index)
    assert stat.S_IMODE(index.stat().st_mode) == 0o700


def test_create_again_changes_nothing(index: Path) -> None:
    before = (index / "annidx.json").read_bytes()
    identity.create(index)
    assert (index / "annidx.json").read_bytes() == before


def test_an_empty_folder_may_become_an_index(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    identity.create(tmp_path / "empty")
    assert snapshot.current_manifest(tmp_path / "empty") is None


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(IndexNotFound, match="exists and is no index"):
        identity.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_file_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(IndexNotFound, match="exists and is no index"):
        identity.create(tmp_path / "file")
    with pytest.raises(IndexNotFound, match="not a folder"):
        snapshot.current(tmp_path / "file")


def test_a_creation_that_was_interrupted_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_new", killed)
        with pytest.raises(KeyboardInterrupt):
            identity.create(tmp_path / "index")
    identity.create(tmp_path / "index")
    identity.index_id(tmp_path / "index")


def test_no_index(tmp_path: Path, index: Path) -> None:
    with pytest.raises(IndexNotFound, match="there is no index here"):
        snapshot.current(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):  # for callers who do not know annidx
        snapshot.current(tmp_path / "nowhere")
    with pytest.raises(IndexNotFound, match="nothing was built here yet"):
        snapshot.current(index)


@pytest.mark.parametrize(
    "marker", [b"", b"{", b"[]", b"{}", b'{"format": "1"}', b'{"format": null}', b"\xff", b"1"]
)
def test_a_damaged_marker(index: Path, marker: bytes) -> None:
    (index / "annidx.json").write_bytes(marker)
    with pytest.raises(IndexDamaged, match=r"annidx\.json"):
        identity.index_id(index)


def test_a_newer_index(index: Path) -> None:
    (index / "annidx.json").write_bytes(b'{"format": 2}')
    for act in (identity.index_id, snapshot.current, identity.create):
        with pytest.raises(IndexTooNew, match=r"annidx\.json: .*format 2"):
            act(index)


def test_a_flipped_bit_makes_no_newer_index(index: Path) -> None:
    marker = index / "annidx.json"
    whole = marker.read_bytes()
    for found in (b"3", b"5", b"9"):
        marker.write_bytes(whole.replace(b'"format": 1', b'"format": ' + found))
        with pytest.raises(IndexDamaged, match=r"annidx\.json: .*checksum"):
            identity.index_id(index)
    for found in (b"2", b"11", b"99"):
        marker.write_bytes(whole.replace(b'"format": 1', b'"format": ' + found))
        with pytest.raises(IndexTooNew):
            identity.index_id(index)


def test_two_that_make_one_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = files.write_new

    def second(path: Path, data: bytes, index: Path) -> None:
        write(path, data, index)  # the other one
        write(path, data, index)

    monkeypatch.setattr(files, "write_new", second)
    identity.create(tmp_path / "index")
    identity.index_id(tmp_path / "index")


# --- publish and open ---------------------------------------------------------------------------


def test_numbers_go_up(index: Path) -> None:
    published = [snapshot.publish(index, EMPTY) for _ in range(3)]
    assert [manifest.number for manifest in published] == [1, 2, 3]
    assert [path.name for path in files.manifest_paths(index)] == [
        *("00000001.json", "00000002.json", "00000003.json")
    ]
    assert snapshot.current(index).manifest == published[-1]


def test_the_number_after_a_damaged_one_is_new(index: Path) -> None:
    snapshot.publish(index, EMPTY)
    (index / "snapshots" / "00000007.json").write_bytes(b"torn")
    assert snapshot.publish(index, EMPTY).number == 8
    assert snapshot.current(index).manifest.number == 8


def test_tenth_and_hundredth(index: Path) -> None:
    for number in (9, 10, 99, 100):
        (index / "snapshots" / f"{number:08d}.json").write_bytes(
            replace(EMPTY, number=number).to_json()
        )
        assert snapshot.current(index).manifest.number == number


def test_a_damaged_newest_manifest_is_skipped(
    index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        snapshot.publish(index, EMPTY)
    for number in (2, 3):
        (index / "snapshots" / f"0000000{number}.json").write_bytes(b"{}")
    with caplog.at_level(logging.WARNING):
        assert snapshot.current(index).manifest.number == 1
    assert [each.levelname for each in caplog.records] == ["WARNING", "WARNING"]
    assert "00000003.json" in caplog.text
    assert "the snapshot before it is used" in caplog.text


def test_a_newer_manifest_is_not_skipped(index: Path) -> None:
    snapshot.publish(index, EMPTY)
    (index / "snapshots" / "00000002.json").write_bytes(b'{"format": 2, "checksum": "other"}')
    with pytest.raises(IndexTooNew):
        snapshot.current(index)


def test_no_whole_manifest_at_all(index: Path) -> None:
    for _ in range(2):
        (index / "snapshots" / f"{snapshot.publish(index, EMPTY).number:08d}.json").write_bytes(b"")
    with pytest.raises(IndexDamaged, match="none of its 2 manifests is whole"):
        snapshot.current(index)


def test_other_files_among_the_manifests_are_left_alone(index: Path) -> None:
    snapshot.publish(index, EMPTY)
    for name in ("notes.json", "00000002.json.bak", ".00000003.json"):
        (index / "snapshots" / name).write_bytes(b"{}")
    assert snapshot.current(index).manifest.number == 1
    assert snapshot.publish(index, EMPTY).number == 2


# --- rows ---------------------------------------------------------------------------------------

ROOTS = (Root(1, b"/one"), Root(2, b"/tw\xf6"))


def opened(index: Path, sizes: tuple[int, ...] = (5, 1, 7)) -> Snapshot:
    """Publish segments of these sizes with pictures 0, 1, 2, ... and two failures; open it."""
    first = 0
    entries: list[SegmentEntry] = []
    for size in sizes:
        records = [record(number) for number in range(first, first + size)]
        entries.append(add_segment(index, records, "pictures"))
        first += size
    entries.insert(1, add_segment(index, [failure(90), failure(91)], "other"))
    snapshot.publish(index, replace(EMPTY, roots=ROOTS, segments=tuple(entries)))
    return snapshot.current(index)


def test_rows_are_counted_through(index: Path) -> None:
    found = opened(index)
    assert (len(found.pictures), len(found.other)) == (13, 2)
    assert found.pictures.starts.tolist() == [0, 5, 6, 13]
    assert found.pictures.numbers("image_id").tolist() == list(range(13))
    assert found.other.numbers("image_id").tolist() == [90, 91]
    assert [len(block) for block in found.pictures.descriptors("thumb")] == [5, 1, 7]
    assert found.pictures.live.all()


def test_the_rows_of_an_empty_snapshot(index: Path) -> None:
    snapshot.publish(index, EMPTY)
    pictures = snapshot.current(index).pictures
    none = np.zeros(0, np.intp)
    assert len(pictures) == 0
    assert pictures.numbers("image_id").tolist() == []
    assert pictures.values("path", none) == []
    assert list(pictures.records(none)) == []


def test_values_follow_the_order_that_was_asked(index: Path) -> None:
    found = opened(index)
    rng = np.random.default_rng(3)
    for count in (0, 1, 4, 30):
        rows = rng.integers(0, 13, count)
        assert found.pictures.values("image_id", rows) == rows.tolist()
        expected = [b"/one/folder/%06d.jpg" % row for row in rows]
        assert found.paths(rows) == expected


def test_paths_are_joined_with_their_root(index: Path) -> None:
    moved = record(1)
    moved = replace(moved, file=replace(moved.file, root_id=2, path=b"\xff.jpg"))
    entry = add_segment(index, [record(0), moved], "pictures")
    snapshot.publish(index, replace(EMPTY, roots=ROOTS, segments=(entry,)))
    found = snapshot.current(index)
    assert found.paths(np.array([1, 0])) == [b"/tw\xf6/\xff.jpg", b"/one/folder/000000.jpg"]


def test_records_of_several_segments(index: Path) -> None:
    rows = np.array([0, 4, 5, 12])
    assert list(opened(index).pictures.records(rows)) == [record(int(row)) for row in rows]


def test_place(index: Path) -> None:
    pictures = opened(index).pictures
    assert [pictures.place(entry.sha256) for entry in pictures.entries] == [0, 1, 2]


def test_what_is_unlinked_under_an_open_snapshot_stays_readable(index: Path) -> None:
    found = opened(index)
    for path in (index / "segments").iterdir():
        path.unlink()
    rows = np.arange(13)
    assert found.pictures.values("image_id", rows) == rows.tolist()
    assert found.pictures.descriptors("thumb")[2][6].tobytes() == record(12).descriptors["thumb"]


def test_a_missing_segment_is_damage(index: Path) -> None:
    entry = opened(index).pictures.entries[1]
    (index / "segments" / f"{entry.sha256}.parquet").unlink()
    with pytest.raises(IndexDamaged, match=entry.sha256):
        snapshot.current(index)


def test_segments_are_private_and_named_by_their_hash(index: Path) -> None:
    opened(index)
    for path in (index / "segments").iterdir():
        assert files.sha256_of(path) == path.stem
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- removed rows -------------------------------------------------------------------------------


def test_without(index: Path) -> None:
    found = opened(index)
    gone = np.zeros(13, np.bool_)
    gone[[0, 1, 4, 5, 8]] = True
    entries = without(found.pictures, gone)
    assert [entry.rows for entry in entries] == [5, 7]  # the one of a single row is gone
    assert [entry.removed for entry in entries] == [((0, 2), (4, 1)), ((2, 1),)]
    less = Snapshot(index, replace(found.manifest, segments=tuple(entries)))
    assert np.flatnonzero(less.pictures.live).tolist() == [2, 3, 5, 6, 8, 9, 10, 11]
    again = without(less.pictures, np.arange(12) == 2)
    assert again[0].removed == ((0, 3), (4, 1))


def test_without_nothing_is_the_same(index: Path) -> None:
    found = opened(index)
    assert without(found.pictures, np.zeros(13, np.bool_)) == found.pictures.entries
    assert without(found.pictures, np.ones(13, np.bool_)) == []


@given(arrays(np.bool_, st.integers(0, 40)))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_runs(mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
    runs = _runs(mask)
    again = np.zeros(len(mask), np.bool_)
    for start, count in runs:
        assert count > 0
        again[start : start + count] = True
    assert again.tolist() == mask.tolist()
    assert all(one + count < other for (one, count), (other, _) in pairwise(runs))


def test_more_segments_than_a_process_may_open_at_first(index: Path) -> None:
    """A first build of days has published a small segment every ten minutes."""
    entries = tuple(add_segment(index, [record(n)], "pictures") for n in range(20))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 10, hard))
    try:
        assert len(Snapshot(index, replace(EMPTY, segments=entries)).pictures) == 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
