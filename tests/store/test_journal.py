"""annidx.store.journal: what was extracted is found again, up to the first byte that is wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import IO, Any

import pyarrow as pa
import pytest

from annidx.descriptors import DESCRIPTORS
from annidx.model import Record
from annidx.store import identity, journal
from annidx.store.journal import Journal, left_behind
from annidx.store.manifest import Kind, Manifest, Root, SegmentEntry
from annidx.store.segment import table_of
from tests.making import failure, record

BASE = Manifest(1, "", (Root(1, b"/one"), Root(2, b"/two")), next_image_id=7)
ROOTS = {1: b"/one", 2: b"/two"}
NAMES = {name: each.version for name, each in DESCRIPTORS.items()}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    identity.create(tmp_path / "index")
    return tmp_path / "index"


def write(index: Path, *batches: Sequence[Record], kind: Kind = "pictures") -> Path:
    """Write a journal on which a later build may go on, and return its file."""
    written = Journal(index, BASE, ROOTS)
    written.replace_old()
    for batch in batches:
        written.append(table_of(batch, kind), kind)
    written.close()
    return index / "staging" / f"{kind}.journal"


def read(index: Path, **changes: Any) -> list[tuple[Kind, list[int]]]:
    """Return kind and image ids of each batch that is found."""
    base, roots, names = (
        changes.get(name, default)
        for name, default in (("base", BASE), ("roots", ROOTS), ("names", NAMES))
    )
    return [
        (left.kind, left.table["image_id"].to_pylist())
        for left in left_behind(index, base, roots, names)
    ]


def batch(*numbers: int, root_id: int = 1) -> list[Record]:
    made = [record(number) for number in numbers]
    return [replace(each, file=replace(each.file, root_id=root_id)) for each in made]


def test_rows_come_back_as_they_were(index: Path) -> None:
    records = [replace(each, camera="µ") for each in batch(1, 2)]
    records[1] = replace(records[1], file=replace(records[1].file, companions=(b"a.xmp", b"\xff")))
    write(index, records, batch(3))
    first, second = left_behind(index, BASE, ROOTS, NAMES)
    assert first.table.equals(table_of(records, "pictures"), check_metadata=True)
    assert (first.kind, first.next_image_id, second.next_image_id) == ("pictures", 3, 4)


def test_both_kinds(index: Path) -> None:
    written = Journal(index, BASE, ROOTS)
    written.replace_old()
    for number in range(3):
        written.append(table_of([failure(10 + number)], "other"), "other")
        written.append(table_of([record(number)], "pictures"), "pictures")
    written.close()
    assert read(index) == [
        *(("pictures", [number]) for number in range(3)),
        *(("other", [10 + number]) for number in range(3)),
    ]


def test_nothing_was_left(index: Path) -> None:
    assert read(index) == []
    written = Journal(index, BASE, ROOTS)
    written.replace_old()
    written.close()
    assert list((index / "staging").iterdir()) == []


def test_what_was_left_stays_until_it_was_taken_over(index: Path) -> None:
    """A build that is killed while it takes over what another one left loses nothing of it."""
    write(index, batch(1), batch(2))
    second = Journal(index, BASE, ROOTS)
    second.append(table_of(batch(1), "pictures"), "pictures")
    assert read(index) == [("pictures", [1]), ("pictures", [2])]
    second.append(table_of(batch(2), "pictures"), "pictures")
    second.replace_old()
    second.append(table_of(batch(3), "pictures"), "pictures")
    assert read(index) == [("pictures", [1]), ("pictures", [2]), ("pictures", [3])]
    assert [path.name for path in (index / "staging").iterdir()] == ["pictures.journal"]
    second.close()


def test_a_kind_of_which_nothing_was_taken_over_goes(index: Path) -> None:
    write(index, [failure(1)], kind="other")
    second = Journal(index, BASE, ROOTS)
    second.append(table_of(batch(2), "pictures"), "pictures")
    second.replace_old()
    second.close()
    assert read(index) == [("pictures", [2])]


def test_a_journal_that_is_closed_goes_on_where_it_was(index: Path) -> None:
    """A build closes it when all is extracted, and notes some more rows afterwards."""
    written = Journal(index, BASE, ROOTS)
    written.replace_old()
    written.append(table_of(batch(1), "pictures"), "pictures")
    written.close()
    written.append(table_of(batch(2), "pictures"), "pictures")
    written.close()
    assert read(index) == [("pictures", [1]), ("pictures", [2])]


def test_what_is_published_is_forgotten(index: Path) -> None:
    """The journal goes on, on top of what was published."""
    written = Journal(index, BASE, ROOTS)
    written.replace_old()
    written.append(table_of(batch(1), "pictures"), "pictures")
    written.append(table_of([failure(2)], "other"), "other")
    published = replace(BASE, number=2, next_image_id=3)
    written.restart(published)
    assert list((index / "staging").iterdir()) == []
    written.append(table_of(batch(3), "pictures"), "pictures")
    assert read(index, base=published) == [("pictures", [3])]
    assert read(index) == []
    written.close()


# --- what a journal does not fit to -------------------------------------------------------------


SEGMENT = SegmentEntry("ab" * 32, "pictures", 3, 1000)


@pytest.mark.parametrize(
    ("changed", "fits"),
    [
        ({"number": 5, "created": "later"}, True),
        ({"roots": (*BASE.roots, Root(3, b"/three"))}, True),
        ({"next_image_id": 8}, False),
        ({"segments": (SEGMENT,)}, False),
    ],
)
def test_the_snapshot_it_builds_on(index: Path, changed: dict[str, Any], fits: bool) -> None:
    write(index, batch(1))
    assert read(index, base=replace(BASE, **changed)) == ([("pictures", [1])] if fits else [])


def test_a_snapshot_of_which_more_was_removed(index: Path) -> None:
    """``roots remove`` does it: a row that was carried over might come back."""
    base = replace(BASE, segments=(SEGMENT,))
    written = Journal(index, base, ROOTS)
    written.replace_old()
    written.append(table_of(batch(1), "pictures"), "pictures")
    written.close()
    assert read(index, base=base) == [("pictures", [1])]
    less = replace(base, segments=(replace(SEGMENT, removed=((0, 1),)),))
    assert read(index, base=less) == []


def test_other_descriptors(index: Path) -> None:
    made = [replace(each, descriptors={"thumb": each.descriptors["thumb"]}) for each in batch(1)]
    write(index, made)
    assert read(index, names={"thumb": 1}) == [("pictures", [1])]
    assert read(index, names={"thumb": 1, "signature": 1}) == []
    assert read(index, names={}) == []


def test_descriptors_of_another_version(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same names and widths, other numbers."""
    write(index, batch(1))
    newer = replace(DESCRIPTORS["thumb"], version=DESCRIPTORS["thumb"].version + 1)
    monkeypatch.setitem(DESCRIPTORS, "thumb", newer)
    assert read(index) == []


def test_roots_are_known_by_their_paths(index: Path) -> None:
    """A build that never published may have given a root a number that another one has today."""
    write(index, [*batch(1), *batch(2, root_id=2), *batch(3)], batch(4, root_id=2))
    lefts = list(left_behind(index, BASE, {2: b"/one", 5: b"/three"}, NAMES))
    assert [left.table["image_id"].to_pylist() for left in lefts] == [[1, 3]]
    assert [left.table["root_id"].to_pylist() for left in lefts] == [[2, 2]]
    assert read(index, roots={9: b"/two"}) == [("pictures", [2]), ("pictures", [4])]
    assert read(index, roots={}) == []


def test_a_root_that_has_moved_is_the_same(index: Path) -> None:
    """Its number was published; that of a new root was not, and may be another one's today."""
    base = replace(BASE, next_root_id=2)
    written = Journal(index, base, ROOTS)
    written.replace_old()
    written.append(table_of([*batch(1), *batch(2, root_id=2)], "pictures"), "pictures")
    written.close()
    lefts = left_behind(index, base, {1: b"/moved", 2: b"/other", 3: b"/two"}, NAMES)
    assert [left.table["root_id"].to_pylist() for left in lefts] == [[1, 3]]
    assert read(index, base=base, roots={2: b"/other"}) == []


# --- damage -------------------------------------------------------------------------------------

BATCHES = ([1, 2], [3], [4, 5, 6])


@pytest.fixture
def damaged(index: Path) -> tuple[Path, list[int], Random]:
    """A journal of three batches, where each frame ends, and what to damage it with."""
    path = write(index, *(batch(*numbers) for numbers in BATCHES))
    data, ends = path.read_bytes(), [0]
    while ends[-1] < len(data):
        ends.append(ends[-1] + 40 + int.from_bytes(data[ends[-1] : ends[-1] + 8], "little"))
    assert ends[-1] == len(data)
    assert len(ends) == 1 + 2 + len(BATCHES)  # of which two say what it builds on, and the schema
    return path, ends, Random(1)


def expected(ends: Sequence[int], good: int) -> list[tuple[Kind, list[int]]]:
    """Return what is found when the first `good` bytes are as they were."""
    whole = sum(end <= good for end in ends) - 1
    return [("pictures", list(numbers)) for numbers in BATCHES[: max(0, whole - 2)]]


def offsets(ends: Sequence[int], rng: Random) -> list[int]:
    """Return some places of a file: around the edges of frames, within their heads, anywhere."""
    edges = [end + beside for end in ends for beside in (-1, 0, 1, 5, 8, 20, 39, 40, 41)]
    anywhere = [rng.randrange(ends[-1]) for _ in range(100)]
    return sorted({at for at in edges + anywhere if 0 <= at < ends[-1]})


def test_torn_anywhere(index: Path, damaged: tuple[Path, list[int], Random]) -> None:
    path, ends, rng = damaged
    data = path.read_bytes()
    for length in offsets(ends, rng):
        path.write_bytes(data[:length])
        assert read(index) == expected(ends, length), length


def test_a_byte_that_is_wrong_anywhere(
    index: Path, damaged: tuple[Path, list[int], Random]
) -> None:
    """Lengths included: one that is huge must not ask for as much memory."""
    path, ends, rng = damaged
    data = path.read_bytes()
    for at in offsets(ends, rng):
        for flipped in (0x80, 1 << rng.randrange(8)):
            path.write_bytes(data[:at] + bytes([data[at] ^ flipped]) + data[at + 1 :])
            assert read(index) == expected(ends, at), (at, flipped)


@pytest.mark.parametrize("length", [0, 1, 39, 40, 5000])
@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"{"])
def test_what_is_no_journal(index: Path, length: int, fill: bytes) -> None:
    """A file system that lost power leaves zeros behind."""
    for kind in ("pictures", "other"):
        (index / "staging" / f"{kind}.journal").write_bytes(fill * length)
    assert read(index) == []


class Filling:
    """A file on a disk on which so many bytes fit yet."""

    def __init__(self, file: IO[bytes], space: int) -> None:
        self._file, self.space = file, space

    def write(self, data: memoryview) -> int:
        if not self.space:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = min(len(data), self.space, 1000)  # never all at once: a short write is no error
        self.space -= taken
        return self._file.write(data[:taken])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize("space", [0, 1, 39, 40, 41, 2000])
def test_a_full_disk_tears_nothing(index: Path, space: int) -> None:
    """What is written when there is space again is found, too."""
    written = Journal(index, BASE, ROOTS)
    written.replace_old()
    written.append(table_of(batch(1), "pictures"), "pictures")
    disk = Filling(written._open["pictures"], space)
    written._open["pictures"] = disk  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        written.append(table_of(batch(2, 3, 4), "pictures"), "pictures")
    disk.space = 10**9
    written.append(table_of(batch(5), "pictures"), "pictures")
    written.close()
    assert read(index) == [("pictures", [1]), ("pictures", [5])]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("torn", range(6))
def test_a_frame_that_ctrl_c_tears(
    index: Path, monkeypatch: pytest.MonkeyPatch, first: bool, torn: int
) -> None:
    """Between two writes: what the build saves on its way out stands behind it."""
    written = Journal(index, BASE, ROOTS)
    written.replace_old()
    if not first:
        written.append(table_of(batch(1), "pictures"), "pictures")
    whole = journal._write_whole
    calls: Iterator[int] = iter(range(100))

    def interrupted(handle: IO[bytes], data: memoryview) -> None:
        if next(calls) == torn:
            raise KeyboardInterrupt
        whole(handle, data)

    batches = [table_of(batch(number), "pictures") for number in (2, 3, 4)]
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_write_whole", interrupted)
        with pytest.raises(KeyboardInterrupt):
            written.append(pa.concat_tables(batches), "pictures")
    written.append(table_of(batch(9), "pictures"), "pictures")
    written.close()
    before = [2] * (torn >= 6) if first else [1, 2, 3, 4][: 1 + torn // 2]
    assert read(index) == [("pictures", [number]) for number in [*before, 9]]
