"""annidx.store.segment: records in, the same records out, for us and for any Parquet reader."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annidx.descriptors import DESCRIPTORS
from annidx.errors import FileDamaged, IndexDamaged, IndexTooNew
from annidx.model import READABLE, STATUSES, File, Record
from annidx.store import segment
from annidx.store.files import sha256_of
from annidx.store.manifest import FORMAT, Kind, SegmentEntry
from annidx.store.segment import Segment, table_of, write_segment
from tests.making import failure, record


def random_bytes(width: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(width)


odd_texts = st.text(max_size=20)
hashes = st.binary(min_size=32, max_size=32)
longs = st.integers(-(2**63), 2**63 - 1)
unsigned = st.integers(0, 2**64 - 1)
files = st.builds(
    File,
    root_id=st.integers(0, 2**31 - 1),
    path=st.binary(min_size=1, max_size=30),
    size=st.integers(0, 2**63 - 1),
    mtime_ns=longs,  # there are files from before 1970
    device=unsigned,
    inode=unsigned,
)
facts: dict[str, Any] = {
    "file": files,
    "read_ns": longs,
    "error": odd_texts,
    "content_hash": hashes,
    "pixel_hash": hashes,
    "format": odd_texts,
    "width": st.integers(0, 2**31 - 1),
    "height": st.integers(0, 2**31 - 1),
    "orientation": st.integers(1, 8),
    "taken": odd_texts,
    "camera": odd_texts,
    "subsecond": odd_texts,
    "exposure": odd_texts,
    "image_id": longs,
    "first_seen_ns": longs,
}
stored = st.fixed_dictionaries(
    {
        # By a seed: thousands of bytes are more than hypothesis cares to draw.
        each.name: st.integers(0, 2**32 - 1).map(partial(random_bytes, each.width))
        for each in DESCRIPTORS.values()
    }
)
pictures = st.builds(Record, status=st.sampled_from(sorted(READABLE)), descriptors=stored, **facts)
others = st.builds(Record, status=st.sampled_from(sorted(set(STATUSES) - READABLE)), **facts)


def written(path: Path, records: Sequence[Record], kind: Kind = "pictures") -> Segment:
    path.unlink(missing_ok=True)
    write_segment(path, table_of(records, kind))
    return reopened(path, len(records), kind)


def reopened(path: Path, rows: int, kind: Kind = "pictures") -> Segment:
    """Open what is there, whatever it is, as if the manifest had meant it."""
    entry = SegmentEntry(sha256_of(path), kind, rows, path.stat().st_size)
    return Segment(path, entry)


@given(st.lists(pictures, min_size=1, max_size=4))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_pictures_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record]
) -> None:
    path = tmp_path_factory.getbasetemp() / "segment.parquet"
    opened = written(path, records)
    assert opened.kind == "pictures"
    assert list(opened.records(range(len(records)))) == records
    for name in DESCRIPTORS:
        joined = b"".join(each.descriptors[name] for each in records)
        assert opened.descriptor(name).tobytes() == joined


@given(st.lists(others, min_size=1, max_size=4))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_other_files_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record]
) -> None:
    opened = written(tmp_path_factory.getbasetemp() / "other.parquet", records, "other")
    assert opened.kind == "other"
    assert opened.descriptor_names == []
    assert list(opened.records(range(len(records)))) == records


@pytest.mark.parametrize("rows", [1, 2, 1500])
def test_descriptors_are_mapped_where_they_lie(tmp_path: Path, rows: int) -> None:
    records = [record(number) for number in range(rows)]
    opened = written(tmp_path / "s.parquet", records)
    for name, each in DESCRIPTORS.items():
        block = opened.descriptor(name)
        assert block.shape == (rows, each.width)
        assert not block.flags.owndata
        assert [row.tobytes() for row in block] == [one.descriptors[name] for one in records]


def test_rows_come_in_the_order_that_was_asked(tmp_path: Path) -> None:
    records = [record(number) for number in range(9)]
    opened = written(tmp_path / "s.parquet", records)
    assert list(opened.records([7, 0, 3])) == [records[7], records[0], records[3]]
    assert list(opened.records(np.array([], np.intp))) == []


def test_odd_values(tmp_path: Path) -> None:
    """What file systems and cameras come up with: inodes beyond 64 bits, half characters."""
    odd = record(1, error="a\udcffb", camera="\ud800")
    odd = replace(odd, file=replace(odd.file, inode=2**64 + 5, device=-1))
    (found,) = written(tmp_path / "s.parquet", [odd]).records([0])
    assert (found.error, found.camera) == ("a?b", "?")
    assert (found.file.inode, found.file.device) == (5, 2**64 - 1)


def test_any_parquet_reader_reads_it(tmp_path: Path) -> None:
    records = [record(number) for number in range(5)]
    written(tmp_path / "s.parquet", records)
    table = pq.read_table(tmp_path / "s.parquet")
    assert table.column("path").to_pylist() == [each.file.path for each in records]
    assert table.column("inode").to_pylist() == [each.file.inode for each in records]
    assert table.column("thumb").to_pylist() == [each.descriptors["thumb"] for each in records]
    assert table.schema.field("signature").type == pa.binary(136)
    versions = {each.name: each.version for each in DESCRIPTORS.values()}
    assert json.loads(table.schema.metadata[b"descriptors"]) == versions
    assert table.schema.metadata[b"annidx_format"] == str(FORMAT).encode()
    assert [field.name for field in table.schema if field.nullable] == []


def test_descriptors_are_not_blown_up(tmp_path: Path) -> None:
    rows = 2000
    written(tmp_path / "s.parquet", [record(number) for number in range(rows)])
    size = (tmp_path / "s.parquet").stat().st_size
    assert size < rows * (sum(each.width for each in DESCRIPTORS.values()) + 300)


def test_an_existing_file_is_not_written_over(tmp_path: Path) -> None:
    written(tmp_path / "s.parquet", [record(1)])
    with pytest.raises(FileExistsError):
        write_segment(tmp_path / "s.parquet", table_of([record(2)], "pictures"))


def test_damaged_segments(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    written(path, [record(number) for number in range(3)])
    whole = path.read_bytes()
    with pytest.raises(IndexDamaged, match=rf"{path}: it has 3 rows, the manifest says 4"):
        reopened(path, 4).numbers("size")
    entry = SegmentEntry(sha256_of(path), "pictures", 3, len(whole))
    flipped = whole[:500] + bytes([whole[500] ^ 1]) + whole[501:]
    for damaged in (b"", b"garbage", whole[:-1], whole[:500], flipped, bytes(len(whole))):
        path.write_bytes(damaged)
        with pytest.raises(FileDamaged, match=rf"{path}: .*annidx build") as caught:
            Segment(path, entry).numbers("size")
        assert caught.value.path == str(path)
        assert caught.value.found != caught.value.expected
        with contextlib.suppress(IndexDamaged):  # as if somebody had meant it
            reopened(path, 3).numbers("size")
    path.unlink()
    with pytest.raises(FileDamaged, match=rf"{path}: is missing"):
        Segment(path, entry)


def test_a_changed_byte_is_no_surprise(tmp_path: Path) -> None:
    """It is an error of ours, or goes unnoticed, should ever the hash be right all the same."""
    path = tmp_path / "s.parquet"
    written(path, [record(1), record(2)])
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    surprises: dict[str, int] = {}
    for at in range(footer, len(whole), 5):
        changed = whole[at] ^ (1 if at % 2 else 0x80)
        path.write_bytes(whole[:at] + bytes([changed]) + whole[at + 1 :])
        try:
            list(reopened(path, 2).records([0, 1]))
        except (IndexDamaged, IndexTooNew):
            continue
        except Exception as error:
            surprises[f"{type(error).__name__}: {error}"[:200]] = at - footer
    assert surprises == {}


def test_a_newer_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(segment, "FORMAT", 2)
        write_segment(tmp_path / "s.parquet", table_of([record(1)], "pictures"))
    with pytest.raises(IndexTooNew, match=r"s\.parquet: .*format 2, .*up to 1"):
        reopened(tmp_path / "s.parquet", 1).numbers("size")


def test_a_format_that_is_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(segment, "FORMAT", "one")
        write_segment(tmp_path / "s.parquet", table_of([record(1)], "pictures"))
    with pytest.raises(IndexDamaged, match=r"s\.parquet"):
        reopened(tmp_path / "s.parquet", 1).numbers("size")


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    opened = written(tmp_path / "s.parquet", [failure(1)], "other")
    with pytest.raises(IndexDamaged, match="thumb"):
        opened.descriptor("thumb")
    with pytest.raises(IndexDamaged, match="no_such"):
        opened.column("no_such")


def test_a_descriptor_that_is_packed(tmp_path: Path) -> None:
    """Somebody rewrote the file with another tool: its bytes are not where they should be."""
    path = tmp_path / "s.parquet"
    written(path, [record(number) for number in range(50)])
    table = pq.read_table(path)
    pq.write_table(table, path, compression="zstd")
    with pytest.raises(IndexDamaged, match="'thumb' is not one plain page"):
        reopened(path, 50).descriptor("thumb")


def test_facts_are_unpacked_only_once(tmp_path: Path) -> None:
    opened = written(tmp_path / "s.parquet", [record(1), record(2)])
    assert opened.column("path") is opened.column("path")
    assert opened.numbers("image_id").tolist() == [1, 2]
    assert opened.numbers("inode").dtype == np.uint64


def test_threads_read_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once in one ParquetFile end the process, one time in some hundred."""
    opened = written(tmp_path / "a.parquet", [record(number) for number in range(5)])
    read = pq.ParquetFile.read
    inside = threading.Semaphore(1)
    alone = []

    def watched(*args: Any, **options: Any) -> pa.Table:
        alone.append(inside.acquire(blocking=False))
        time.sleep(0.005)
        found = read(*args, **options)
        if alone[-1]:
            inside.release()
        return found

    monkeypatch.setattr(pq.ParquetFile, "read", watched)
    names = ("size", "path", "width", "taken") * 2
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(opened.column, names))
    assert len(alone) >= 4
    assert all(alone)
    assert [len(column) for column in found] == [5] * 8


def test_what_is_unlinked_stays_readable(tmp_path: Path) -> None:
    """Readers take no lock: what prune removes under them must still be there for them."""
    records = [record(number) for number in range(3)]
    opened = written(tmp_path / "s.parquet", records)
    (tmp_path / "s.parquet").unlink()
    assert list(opened.records([0, 1, 2])) == records


def test_descriptors_are_read_only(tmp_path: Path) -> None:
    opened = written(tmp_path / "s.parquet", [record(1)])
    assert not opened.descriptor("thumb").flags.writeable


def test_a_segment_of_before_a_column_reads_as_unknown(tmp_path: Path) -> None:
    path = tmp_path / "old.parquet"
    table = table_of([record(1, subsecond="31", exposure="1/250 s")], "pictures")
    write_segment(path, table.drop_columns(["subsecond", "exposure", "companions"]))
    (back,) = reopened(path, 1).records([0])
    assert (back.subsecond, back.exposure, back.file.companions) == ("", "", ())
    assert back.descriptors == record(1).descriptors
