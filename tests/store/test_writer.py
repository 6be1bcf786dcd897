"""annidx.store.writer: records become segments, and segments stay few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from annidx.descriptors import DESCRIPTORS
from annidx.errors import IndexDamaged
from annidx.model import Record
from annidx.store import identity, writer
from annidx.store.journal import Journal, left_behind
from annidx.store.manifest import Manifest, Root, SegmentEntry
from annidx.store.segment import Segment
from annidx.store.snapshot import Snapshot
from annidx.store.writer import SegmentWriter
from tests.making import add_segment, failure, record

NOW_NS = 1_800_000_000_000_000_000


@pytest.fixture
def index(tmp_path: Path) -> Path:
    identity.create(tmp_path / "index")
    return tmp_path / "index"


def new(number: int) -> Record:
    """Return a record as extraction gives it: without a number."""
    return replace(record(number), image_id=-1, first_seen_ns=0)


def stored(index: Path, entries: Sequence[SegmentEntry]) -> list[list[Record]]:
    folder = index / "segments"
    opened = [Segment(folder / f"{each.sha256}.parquet", each) for each in entries]
    return [list(each.records(range(each.rows))) for each in opened]


def test_new_records_are_numbered(index: Path) -> None:
    made = SegmentWriter(index, 41, NOW_NS)
    for number in range(3):
        made.add(new(number))
    made.flush()
    (records,) = stored(index, made.entries)
    assert [each.image_id for each in records] == [41, 42, 43]
    assert {each.first_seen_ns for each in records} == {NOW_NS}
    assert made.next_image_id == 44


def test_known_records_keep_their_number(index: Path) -> None:
    made = SegmentWriter(index, 41, NOW_NS)
    known = record(7, first_seen_ns=5)
    made.add(known)
    made.flush()
    assert stored(index, made.entries) == [[known]]
    assert made.next_image_id == 41


def test_kinds_are_kept_apart(index: Path) -> None:
    made = SegmentWriter(index, 1, NOW_NS)
    for each in (record(1), failure(2), record(3, status="truncated"), failure(4)):
        made.add(each)
    made.flush()
    assert [(entry.kind, entry.rows) for entry in made.entries] == [("pictures", 2), ("other", 2)]
    ids = [[each.image_id for each in part] for part in stored(index, made.entries)]
    assert ids == [[1, 3], [2, 4]]


def test_nothing_makes_no_segment(index: Path) -> None:
    made = SegmentWriter(index, 1, NOW_NS)
    made.flush()
    assert made.entries == []
    assert list((index / "segments").iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "sizes"), [(9, [9]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])]
)
def test_segments_are_cut(
    index: Path, monkeypatch: pytest.MonkeyPatch, rows: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(writer, "ROWS", 10)
    made = SegmentWriter(index, 1, NOW_NS)
    for number in range(rows):
        made.add(new(number))
    made.flush()
    assert [entry.rows for entry in made.entries] == sizes
    together = [each.image_id for part in stored(index, made.entries) for each in part]
    assert together == list(range(1, rows + 1))


def test_absorbed_segments_come_first(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old rows stand before new ones, without the removed."""
    monkeypatch.setattr(writer, "ROWS", 10)
    sizes = [[record(n) for n in part] for part in (range(9), range(10, 14), range(20, 22))]
    entries = [add_segment(index, part, "pictures") for part in sizes]
    entries[2] = replace(entries[2], removed=((0, 1),))
    manifest = Manifest(1, "", (Root(1, b"/r"),), tuple(entries))
    made = SegmentWriter(index, 100, NOW_NS)
    for number in (30, 31, 32):
        made.add(new(number))
    assert made.waiting("pictures") == 3
    made.absorb(Snapshot(index, manifest).pictures, entries[1:], DESCRIPTORS)
    made.flush()
    assert made.waiting("pictures") == 0
    assert made.written == 8
    (records,) = stored(index, made.entries)
    assert [each.image_id for each in records] == [10, 11, 12, 13, 21, 100, 101, 102]


def test_what_is_absorbed_is_written_on_the_way(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed first build of days leaves hundreds of segments: not all fit into memory."""
    monkeypatch.setattr(writer, "ROWS", 10)
    parts = [[record(n) for n in range(start, start + 4)] for start in range(0, 40, 4)]
    entries = [add_segment(index, part, "pictures") for part in parts]
    made = SegmentWriter(index, 100, NOW_NS)
    made.add(new(40))
    manifest = Manifest(1, "", (Root(1, b"/r"),), tuple(entries))
    made.absorb(Snapshot(index, manifest).pictures, entries, DESCRIPTORS)
    assert made.written == 40
    made.flush()
    numbers = [each.image_id for part in stored(index, made.entries) for each in part]
    assert numbers == [*range(40), 100]


def test_damage_is_not_carried_over(index: Path) -> None:
    """Into a new file with a new hash, where nobody would ever see it."""
    entry = add_segment(index, [record(1), record(2)], "pictures")
    path = index / "segments" / f"{entry.sha256}.parquet"
    data = path.read_bytes()
    at = data.index(record(2).descriptors["thumb"])
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    made = SegmentWriter(index, 1, NOW_NS)
    made.add(new(3))
    made.add(new(4))
    with pytest.raises(IndexDamaged, match=rf"{path}: sha256 is"):
        made.absorb(
            Snapshot(index, Manifest(1, "", segments=(entry,))).pictures, [entry], DESCRIPTORS
        )


def test_absorb_nothing(index: Path) -> None:
    made = SegmentWriter(index, 1, NOW_NS)
    made.absorb(Snapshot(index, Manifest(1, "")).pictures, [], DESCRIPTORS)
    assert not made.has_rows


# --- the journal --------------------------------------------------------------------------------


def test_rows_are_noted_long_before_they_are_a_segment(index: Path) -> None:
    """In batches of 32 of each kind, and all of them at a checkpoint."""
    base, names = Manifest(0, ""), {name: each.version for name, each in DESCRIPTORS.items()}
    noted = Journal(index, base, {1: b"/one"})
    noted.replace_old()
    made = SegmentWriter(index, 41, NOW_NS, noted)

    def found() -> list[int]:
        lefts = left_behind(index, base, {1: b"/one"}, names)
        return [number for left in lefts for number in left.table["image_id"].to_pylist()]

    for number in range(31):
        made.add(new(number))
    assert found() == []
    made.add(replace(failure(31), image_id=-1))
    made.add(new(32))
    assert found() == [*range(41, 72), 73]
    made.checkpoint()
    assert found() == [*range(41, 72), 73, 72]
    made.flush()
    assert found() == [*range(41, 72), 73, 72]  # not twice
    noted.close()
