"""annidx.images.extract: what becomes of a file, from a good picture to one that is gone."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from annidx.descriptors import DEFAULT_DESCRIPTORS, descriptor
from annidx.errors import PictureUnreadable
from annidx.images import content, decode, extract, raw
from annidx.images.compute import ReadOnce
from annidx.images.extract import (
    Extractor,
    Outcome,
    Task,
    Unchanged,
    Vanished,
    batches,
    budget,
    query_record,
)
from annidx.images.fingerprint import fingerprint_bytes, gray64
from annidx.images.scan import Walk
from annidx.images.signature import pack, signature
from annidx.images.thumb import thumb
from annidx.model import IGNORED, READABLE, STATUSES, File, Record
from annidx.workers import Again, Lost, map_items
from tests.images import raws
from tests.images.pictures import encoded, orientation_tag, photo, png_header

pytestmark = pytest.mark.timeout(60)  # what goes wrong here may well block


def task(folder: Path, name: str, *, known_content: bytes = b"") -> Task:
    """Return the task for a file of which the walk knew nothing but its name."""
    contents = (b"\1" * 32, known_content) if known_content else ()
    return Task(File(3, os.fsencode(name), 0, 0, 0, 0), bytes(folder), contents)


def extract_one(task: Task, **options: Any) -> Outcome | Again[Task]:
    return Extractor(**options)(task)


def extracted(folder: Path, name: str, data: bytes | None = None) -> Record:
    """Extract a file and return its record."""
    if data is not None:
        (folder / name).write_bytes(data)
    outcome = extract_one(task(folder, name))
    assert isinstance(outcome, Record)
    assert outcome.status in STATUSES
    assert set(outcome.descriptors) == (
        set(DEFAULT_DESCRIPTORS) if outcome.status in READABLE else set()
    )
    return outcome


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


# Records


def test_a_good_picture(tmp_path: Path) -> None:
    exif = orientation_tag(6)
    exif[0x0110] = "Pixel 9"
    data = encoded(photo(60, 80), "JPEG", exif=exif)
    before_ns = time.time_ns()
    record = extracted(tmp_path, "a.jpg", data)
    assert before_ns <= record.read_ns <= time.time_ns()
    assert (record.status, record.error, record.format) == ("ok", "", "JPEG")
    assert (record.width, record.height, record.orientation) == (60, 80, 6)
    assert record.camera == "Pixel 9"
    assert record.content_hash == content.content_hash(data)
    assert record.pixel_hash == content.pixel_hash(data, 6)
    picture = decode.decode(data)
    assert record.descriptors == {
        "thumb": thumb(picture).tobytes(),
        "signature": pack(signature(picture.gray())).tobytes(),
        "gray64": gray64(picture.gray()).tobytes(),
        "fingerprint": fingerprint_bytes(ReadOnce(picture)),
    }
    for name, value in record.descriptors.items():
        assert len(value) == descriptor(name).width


def test_the_facts_are_those_of_the_file_that_was_read(tmp_path: Path) -> None:
    data = encoded(photo(60, 45), "PNG")
    record = extracted(tmp_path, "a.png", data)
    facts = (tmp_path / "a.png").stat()
    expected = (len(data), facts.st_mtime_ns, facts.st_dev, facts.st_ino)
    file = record.file
    assert (file.size, file.mtime_ns, file.device, file.inode) == expected
    assert (file.root_id, file.path) == (3, b"a.png")


def test_a_truncated_picture_is_described(tmp_path: Path) -> None:
    data = encoded(photo(300, 300), "JPEG")[:-2000]
    record = extracted(tmp_path, "a.jpg", data)
    assert (record.status, record.error) == ("truncated", "")
    assert (record.width, record.height) == (300, 300)
    assert record.content_hash == content.content_hash(data)


@pytest.mark.parametrize(
    ("name", "data", "status", "hashed"),
    [
        ("a.jpg", b"", "empty", True),
        ("a.jpg", b"hello", "unreadable", True),
        ("a.png", encoded(photo(60, 45), "PNG")[:40], "unreadable", True),
        ("a.png", png_header(50_000, 50_000), "too-large", True),
        ("a.txt", b"hello", "not-a-picture", False),
        ("a", b"", "not-a-picture", False),
        ("a.mp4", b"\0\0\0\x18ftypisom", "video", False),
        ("a.jpg", b"\0\0\0\x18ftypisom", "video", False),
        ("a.MOV", b"whatever", "video", False),
        ("a.raf", b"FUJIFILMCCD-RAW 0201", "unreadable", True),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, name: str, data: bytes, status: str, hashed: bool
) -> None:
    record = extracted(tmp_path, name, data)
    assert record.status == status
    assert bool(record.error) is (status not in IGNORED)
    assert record.content_hash == (content.content_hash(data) if hashed else bytes(32))
    assert record.pixel_hash == bytes(32)
    assert (record.format, record.width, record.height) == ("", 0, 0)
    assert record.file.size == len(data)


def test_a_file_that_is_no_picture_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: bytes) -> NoReturn:
        pytest.fail("it was hashed")

    monkeypatch.setattr(content, "content_hash", refuse)
    assert extracted(tmp_path, "a.dat", b"\0" * 10**6).status == "not-a-picture"
    assert extracted(tmp_path, "a.mp4", b"\0" * 10**6).status == "video"


def test_a_file_without_permission_is_denied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(photo(60, 45), "JPEG"))

    def deny(path: bytes, _: int) -> NoReturn:
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", deny)
        record = extracted(tmp_path, "a.jpg")
    assert (record.status, record.error) == ("denied", "cannot be read: Permission denied")


def test_a_failing_disk_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(photo(60, 45), "JPEG"))

    def fail(path: bytes, _: int) -> NoReturn:
        raise OSError(5, "Input/output error", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        record = extracted(tmp_path, "a.jpg")
    assert (record.status, record.error) == ("unreadable", "cannot be read: Input/output error")


def test_a_file_beyond_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(photo(60, 45), "JPEG")
    monkeypatch.setattr(extract, "MAX_BYTES", len(data))
    assert extracted(tmp_path, "a.jpg", data).status == "ok"
    monkeypatch.setattr(extract, "MAX_BYTES", len(data) - 1)
    record = extracted(tmp_path, "a.jpg", data)
    assert record.status == "too-large"
    assert "give --memory" in record.error
    assert record.content_hash == bytes(32)


@pytest.mark.parametrize("where", ["Header.decode", "Picture.rgb"])
def test_a_picture_that_takes_too_much_memory_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def exhausted(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(f"annidx.images.decode.{where}", exhausted)
    assert extracted(tmp_path, "a.jpg", encoded(photo(60, 45), "JPEG")).status == "too-large"


def test_an_orientation_that_is_a_ratio_ends_no_build(tmp_path: Path) -> None:
    exif = (
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\x01\0\0\0\x1a\0\0\0\0\0\0\0"
        b"\x06\0\0\0\x01\0\0\0"
    )
    record = extracted(tmp_path, "a.jpg", encoded(photo(60, 45), "JPEG", exif=exif))
    assert (record.status, record.orientation) == ("ok", 6)


# What is no file any more


def test_a_file_that_is_gone_has_vanished(tmp_path: Path) -> None:
    for name in ("gone.jpg", "gone/a.jpg", "file/a.jpg"):
        (tmp_path / "file").touch()
        gone = task(tmp_path, name)
        assert extract_one(gone) == Vanished(gone.file)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["fifo", "folder", "socket", "link", "device"])
def test_what_took_the_place_of_a_file_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the address of a socket has no room for a long path
    path = Path("a.jpg")
    Path("b.jpg").write_bytes(encoded(photo(60, 45), "JPEG"))
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("b.jpg")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    else:
        path = Path("/dev/null")
    before = open_descriptors()
    taken = task(tmp_path, str(path))
    assert extract_one(taken) == Vanished(taken.file)
    assert open_descriptors() == before


# Known content


def test_known_content_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photo(60, 45), "JPEG")
    (tmp_path / "a.jpg").write_bytes(data)

    def refuse(*_: object) -> NoReturn:
        pytest.fail("it was decoded")

    monkeypatch.setattr(decode, "look", refuse)
    known = task(tmp_path, "a.jpg", known_content=content.content_hash(data))
    outcome = extract_one(known)
    assert isinstance(outcome, Unchanged)
    assert (outcome.file.size, outcome.file.path) == (len(data), b"a.jpg")
    assert outcome.file.mtime_ns == (tmp_path / "a.jpg").stat().st_mtime_ns
    assert outcome.read_ns <= time.time_ns()


def test_other_content_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(photo(60, 45), "JPEG"))
    changed = task(tmp_path, "a.jpg", known_content=content.content_hash(b"what it was"))
    outcome = extract_one(changed)
    assert isinstance(outcome, Record)
    assert outcome.status == "ok"


# Large pictures


def test_a_large_picture_wants_to_be_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo(2000, 1500), "PNG"))
    (tmp_path / "b.jpg").write_bytes(encoded(photo(60, 45), "JPEG"))
    limit = 30_000_000
    again = extract_one(task(tmp_path, "a.png"), ordinary_bytes=limit)
    assert isinstance(again, Again)
    assert (again.item.alone, again.item.megapixels) == (True, 3.0)
    alone = extract_one(again.item, ordinary_bytes=limit)
    assert isinstance(alone, Record)
    assert (alone.status, alone.width) == ("ok", 2000)
    assert isinstance(extract_one(task(tmp_path, "b.jpg"), ordinary_bytes=limit), Record)


def test_a_large_file_is_not_even_read_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "a.tif").open("wb") as handle:
        handle.write(b"II*\0")
        handle.truncate(3_000_000_000)  # sparse

    def refuse(*_: object) -> NoReturn:
        pytest.fail("it was hashed")

    monkeypatch.setattr(content, "content_hash", refuse)
    options = {"ordinary_bytes": 100_000_000}
    limits = decode.Limits(memory=4_000_000_000)
    too_large = extract_one(task(tmp_path, "a.tif"), **options)
    assert isinstance(too_large, Record)
    assert too_large.status == "too-large"
    monkeypatch.setattr(extract, "MAX_BYTES", 10**10)
    again = extract_one(task(tmp_path, "a.tif"), limits=limits, **options)
    assert isinstance(again, Again)


def test_a_picture_beyond_the_memory_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo(2000, 1500), "PNG"))
    record = extract_one(task(tmp_path, "a.png"), limits=decode.Limits(memory=25_000_000))
    assert isinstance(record, Record)
    assert record.status == "too-large"
    assert "one picture may take 25 MB: give --memory" in record.error
    record = extract_one(task(tmp_path, "a.png"), limits=decode.Limits(pixels=2_999_999))
    assert isinstance(record, Record)
    assert record.error.endswith("give --max-megapixels 3")


@pytest.mark.parametrize("memory", [50_000_000, 700_000_000, 4_000_000_000])
@pytest.mark.parametrize("workers", [1, 2, 3, 16])
def test_memory_is_divided(memory: int, workers: int) -> None:
    large, ordinary = budget(memory, workers)
    assert large + (workers - 1) * ordinary <= memory
    assert large >= memory // 2
    assert ordinary > 0


def test_where_inodes_mean_nothing(tmp_path: Path) -> None:
    data = encoded(photo(60, 45), "JPEG")
    (tmp_path / "a.jpg").write_bytes(data)
    found = extract_one(replace(task(tmp_path, "a.jpg"), keeps_inodes=False))
    assert isinstance(found, Record)
    assert (found.file.device, found.file.inode, found.file.size) == (0, 0, len(data))


def test_a_raw_file_is_described_from_its_preview(tmp_path: Path) -> None:
    """The sensor's size, the preview's pixels, turned once."""
    upright = photo(1000, 1500)
    lying = upright.transpose(Image.Transpose.ROTATE_90).resize((1200, 800))
    data = raws.raw_file(upright, orientation=6, preview=encoded(lying, "JPEG"))
    record = extracted(tmp_path, "a.dng", data)
    assert (record.status, record.format, record.orientation) == ("ok", "DNG", 6)
    assert (record.width, record.height) == (1500, 1000)
    assert apart(record, extracted(tmp_path, "a.png", encoded(upright, "PNG"))) < 60


def test_a_raw_file_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    record = extracted(tmp_path, "a.raf", b"FUJIFILMCCD-RAW 0201")
    assert (record.status, record.error) == ("raw-unsupported", raw.NO_RAWPY)


def apart(one: Record, other: Record) -> float:
    a, b = (np.frombuffer(each.descriptors["thumb"], np.uint8).astype(int) for each in (one, other))
    return float(np.linalg.norm(a - b))


# Batches


def tasks_of(*sizes: int) -> list[Task]:
    return [Task(File(0, b"%d" % at, size, 0, 0, 0), b"/") for at, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ([], []),
        ([1], [1]),
        ([1, 1, 1], [3]),
        ([1, 1, 1, 1], [3, 1]),  # three files are enough
        ([40, 60, 1], [2, 1]),  # exactly 100 bytes still fit
        ([40, 61, 1], [1, 2]),
        ([500, 1, 500, 500], [1, 1, 1, 1]),  # a large one is alone
        ([1, 500, 1], [1, 1, 1]),
        ([0] * 7, [3, 3, 1]),
    ],
)
def test_batches(sizes: list[int], lengths: list[int]) -> None:
    tasks = tasks_of(*sizes)
    cut = list(batches(tasks, files=3, batch_bytes=100))
    assert [len(batch) for batch in cut] == lengths
    assert [each for batch in cut for each in batch] == tasks


def test_batches_by_default() -> None:
    assert [len(batch) for batch in batches(tasks_of(*[1_000_000] * 70))] == [32, 32, 6]
    assert [len(batch) for batch in batches(tasks_of(*[12_000_000] * 5))] == [2, 2, 1]


def test_batches_are_lazy() -> None:
    endless = (Task(File(0, b"", size, 0, 0, 0), b"/") for size in count())
    assert len(next(batches(endless, files=5))) == 5


def test_batches_are_not_changed_behind_their_taker() -> None:
    kept: list[Sequence[Task]] = list(batches(iter(tasks_of(1, 1, 1, 1)), files=2))
    assert [len(batch) for batch in kept] == [2, 2]


# Queries


def test_a_query_is_described_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo(60, 45), "PNG"))
    (tmp_path / "link.png").symlink_to("a.png")
    record = query_record(bytes(tmp_path / "link.png"))
    assert (record.status, record.file.path) == ("ok", bytes(tmp_path / "a.png"))
    assert record.file.inode == (tmp_path / "a.png").stat().st_ino


def test_a_query_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_bytes(b"hello")
    (tmp_path / "text").write_bytes(b"hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "nowhere.jpg").symlink_to("nothing")
    os.mkfifo(tmp_path / "fifo.jpg")
    before = open_descriptors()
    for name, status, words in (
        ("text.jpg", "unreadable", "no decoder recognises it"),
        ("text", "not-a-picture", STATUSES["not-a-picture"]),
        ("empty.jpg", "empty", "0 bytes"),
        ("folder", "unreadable", "not a regular file"),
        ("nowhere.jpg", "unreadable", "a symbolic link that leads nowhere"),
        ("fifo.jpg", "unreadable", "not a regular file"),
        ("missing.jpg", "unreadable", "no such file"),
    ):
        with pytest.raises(PictureUnreadable) as caught:
            query_record(bytes(tmp_path / name))
        assert caught.value.status == status, name
        assert str(tmp_path / name) in str(caught.value)
        assert words in str(caught.value)
    assert open_descriptors() == before


def test_a_query_with_a_nul_byte_is_refused() -> None:
    with pytest.raises(PictureUnreadable, match="NUL byte"):
        query_record(b"/tmp/a.jpg\0/tmp/b.jpg")


def test_bytes_and_arrays_are_described_like_files(tmp_path: Path) -> None:
    data = encoded(photo(60, 45), "PNG")
    expected = extracted(tmp_path, "a.png", data).descriptors
    assert extract.bytes_record(data).descriptors == expected
    array = decode.from_array(np.asarray(photo(60, 45)))
    assert extract.picture_record(array).descriptors == expected
    with pytest.raises(PictureUnreadable, match="<bytes>") as caught:
        extract.bytes_record(b"hello")
    assert caught.value.status == "not-a-picture"


# Many files


def run(tasks: Sequence[Task]) -> Iterator[Any]:
    return map_items(
        Extractor(), batches(tasks), workers=2, timeout_s=30.0, on_lost=lambda each, lost: lost
    )


def test_shipped_pictures_come_out_of_workers_as_they_do_here() -> None:
    root = Path(__file__).parents[2] / "data" / "pictures"
    tasks = [Task(file, bytes(root)) for file in Walk([(1, bytes(root))]).files()]
    found = list(run(tasks))
    assert [each.file.path for each in found] == [each.file.path for each in tasks]
    counts = Counter(each.status for each in found)
    assert counts == {"ok": 63, "unreadable": 2, "not-a-picture": 1}
    here = extract_one(tasks[5])
    assert isinstance(here, Record)
    assert here.descriptors == found[5].descriptors


@pytest.mark.timeout(200)
def test_the_torture_collection(shared: Path) -> None:
    root = shared / "data" / "torture"
    tasks = [Task(file, bytes(root)) for file in Walk([(1, bytes(root))]).files()]
    assert len(tasks) > 1500
    found = list(run(tasks))
    assert len(found) == len(tasks)
    counts: Counter[str] = Counter()
    for each, outcome in zip(tasks, found, strict=True):
        if isinstance(outcome, Lost):
            counts[outcome.reason] += 1
            continue
        assert isinstance(outcome, Record), each
        assert outcome.file.path == each.file.path
        assert outcome.status in STATUSES
        assert set(outcome.descriptors) == (
            set(DEFAULT_DESCRIPTORS) if outcome.status in READABLE else set()
        )
        assert len(outcome.error.splitlines()) <= 1
        counts[outcome.status] += 1
    assert counts["ok"] > 800, counts
    assert counts["timeout"] == 0, counts
    assert counts["crashed"] <= 3, counts
