"""annidx.survey: the walk that runs ahead, and what it says is to be done."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annidx import survey
from annidx.changes import Known, KnownFiles
from annidx.images.extract import Task
from annidx.images.scan import Walk
from annidx.model import File
from annidx.spool import CHUNK
from annidx.store import identity
from annidx.store.manifest import Manifest, Root
from annidx.store.snapshot import Snapshot
from annidx.survey import LARGE_BYTES, Carry, Item, Survey
from tests.making import LONG_AGO_NS, add_segment, record

DEADLINE_S = 60.0


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def make(photos: Path, *names: str, size: int = 10) -> None:
    """Make files without a picture; only their sizes count here."""
    for name in names:
        with (photos / name).open("wb") as file:
            file.truncate(size)
        os.utime(photos / name, ns=(LONG_AGO_NS, LONG_AGO_NS))


def no(_: Known | None) -> bool:
    return False


class Made:
    """A survey of a folder of which an index knows some files."""

    def __init__(self, photos: Path, known: Sequence[str] = (), anew: Any = no, **changes: Any):
        index = photos.parent / "index"
        identity.create(index)
        self.root = Root(1, os.fsencode(photos), moved=changes.pop("moved", False))
        self.walk = Walk([(1, self.root.path)])
        rows = [row(photos / name, number, **changes) for number, name in enumerate(known)]
        entries = [add_segment(index, rows, "pictures")] if rows else []
        opened = Snapshot(index, Manifest(1, "", (self.root,), tuple(entries)))
        self.files = KnownFiles(opened)
        self.survey = Survey(self.walk, {1: self.root}, self.files, anew, index / "tmp")

    def items(self) -> list[Item]:
        return [item for item in self.survey.items() if item is not None]


def row(path: Path, number: int, **changes: Any) -> Any:
    """Return what an index has of a file as it is now, but for `changes`."""
    facts = path.stat()
    file = File(
        *(1, os.fsencode(path.name), facts.st_size, facts.st_mtime_ns, facts.st_dev, facts.st_ino)
    )
    read_ns = changes.get("read_ns", LONG_AGO_NS * 2)
    changes = {name: value for name, value in changes.items() if name != "read_ns"}
    return record(number, file=replace(file, **changes), read_ns=read_ns)


def names(items: Sequence[Item]) -> list[str]:
    return [os.fsdecode(item.file.path) for item in items]


def test_new_files(photos: Path) -> None:
    make(photos, "a.jpg", "b.jpg")
    made = Made(photos)
    a, b = made.items()
    assert isinstance(a, Task)
    assert (a.path, a.known_contents, a.keeps_inodes) == (os.fsencode(photos / "a.jpg"), (), True)
    assert names([a, b]) == ["a.jpg", "b.jpg"]
    assert (made.survey.found, made.survey.found_bytes, made.survey.walking) == (2, 20, False)


def test_what_has_not_changed_is_kept_and_does_not_come_out(photos: Path) -> None:
    make(photos, "a.jpg", "b.jpg", "new.jpg")
    made = Made(photos, known=["a.jpg", "b.jpg"])
    assert names(made.items()) == ["new.jpg"]
    assert made.survey.found == 1
    assert made.files.removed_pictures() == 0


def test_the_large_ones_of_a_chunk_come_first(photos: Path) -> None:
    """The largest first; the small ones stay in the order of the walk."""
    make(photos, "a.jpg", "c.jpg", "z.jpg")
    make(photos, "b.jpg", size=LARGE_BYTES)
    make(photos, "d.jpg", size=3 * LARGE_BYTES)
    make(photos, "e.jpg", size=LARGE_BYTES - 1)
    assert names(Made(photos).items()) == ["d.jpg", "b.jpg", "a.jpg", "c.jpg", "e.jpg", "z.jpg"]


def test_chunks_stay_apart(photos: Path) -> None:
    """Or all small files would wait until the last large one is found."""
    small = [f"{number:04}.jpg" for number in range(CHUNK + 1)]
    make(photos, *small)
    make(photos, "z.jpg", size=LARGE_BYTES)
    assert names(Made(photos).items()) == [*small[:CHUNK], "z.jpg", small[CHUNK]]


@pytest.mark.parametrize(
    ("before", "after"), [((), (b"a.xmp",)), ((b"a.xmp",), ()), ((b"a.mov",), (b"a.xmp",))]
)
def test_companions_that_came_or_went(
    photos: Path, before: tuple[bytes, ...], after: tuple[bytes, ...]
) -> None:
    """The row goes on under new facts; nothing is read."""
    make(photos, "a.jpg", "b.jpg")
    for name in after:
        (photos / os.fsdecode(name)).write_bytes(b"")
    made = Made(photos, known=["a.jpg"], companions=before)
    carry = made.items()[0]
    assert isinstance(carry, Carry)
    assert (carry.known.file.companions, carry.file.companions) == (before, after)
    assert made.survey.found == 1 + len(after)  # b.jpg, and the companion as a file of its own


def test_a_file_of_a_root_that_was_merged(photos: Path) -> None:
    make(photos, "a.jpg")
    made = Made(photos, known=["a.jpg"])
    made.survey._spool.close()
    rooted = {2: replace(made.root, root_id=2)}
    walk = Walk([(2, made.root.path)])
    merged = Survey(walk, rooted, made.files, no, photos.parent / "index" / "tmp")
    (carry,) = [item for item in merged.items() if item is not None]
    assert isinstance(carry, Carry)
    assert (carry.known.file.root_id, carry.file.root_id) == (1, 2)
    assert merged.found == 0


def test_contents_that_a_file_may_have(photos: Path) -> None:
    """Of its own path first, then of files of its size."""
    make(photos, "a.jpg", "b.jpg", "new.jpg")
    make(photos, "c.jpg", size=11)
    made = Made(photos, known=["a.jpg", "b.jpg", "c.jpg"], read_ns=LONG_AGO_NS)
    items = [item for item in made.items() if isinstance(item, Task)]
    contents = dict(zip(names(items), [item.known_contents for item in items], strict=True))
    a, b, c = (record(number).content_hash for number in range(3))
    assert contents == {"a.jpg": (a, b), "b.jpg": (b, a), "new.jpg": (a, b), "c.jpg": (c,)}


def test_anew_means_that_nothing_is_compared(photos: Path) -> None:
    make(photos, "a.jpg", "b.jpg")
    made = Made(photos, known=["a.jpg"], anew=lambda known: known is not None)
    a, b = made.items()
    assert isinstance(a, Task)
    assert isinstance(b, Task)
    assert a.known_contents == ()
    assert b.known_contents != ()


@pytest.mark.parametrize("moved", [True, False])
def test_inodes_say_nothing_of_a_root_that_was_moved(photos: Path, moved: bool) -> None:
    make(photos, "a.jpg")
    made = Made(photos, known=["a.jpg"], moved=moved, inode=1)
    assert names(made.items()) == ([] if moved else ["a.jpg"])


def test_inodes_that_are_made_up(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(photos, "a.jpg")
    made = Made(photos)
    monkeypatch.setattr("annidx.images.scan.keeps_inodes", lambda *_: False)
    (task,) = made.items()
    assert isinstance(task, Task)
    assert not task.keeps_inodes


# --- the thread ---------------------------------------------------------------------------------


class Held:
    """A walk that stops after some files until it is told to go on."""

    def __init__(self, walk: Walk, after: int) -> None:
        self.walk, self.after = walk, after
        self.go = threading.Event()
        self.given = 0

    def files(self) -> Iterator[File]:
        for file in self.walk.files():
            self.given += 1
            yield file
            if self.given == self.after:
                assert self.go.wait(DEADLINE_S)


def held(photos: Path, after: int) -> tuple[Survey, Held]:
    made = Made(photos)
    walk = Held(made.walk, after)
    made.survey.walk = walk  # type: ignore[assignment]
    return made.survey, walk


def test_items_come_while_the_walk_goes_on(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "_WAIT_S", 0.001)
    make(photos, *(f"{number:04}.jpg" for number in range(CHUNK + 10)))
    looking, walk = held(photos, CHUNK + 5)
    items = looking.items()
    first = next(item for item in items if item is not None)
    assert first.file.path == b"0000.jpg"
    rest = [next(items) for _ in range(CHUNK - 1)]
    assert None not in rest
    assert next(items) is None  # nothing for now
    assert looking.walking
    walk.go.set()
    last = [item for item in items if item is not None]
    assert names(last) == [f"{number:04}.jpg" for number in range(CHUNK, CHUNK + 10)]
    assert not looking.walking
    assert looking.found == CHUNK + 10


def test_it_stops_when_nobody_listens_any_more(photos: Path) -> None:
    make(photos, *(f"{number:04}.jpg" for number in range(3 * CHUNK)))
    looking, walk = held(photos, CHUNK)
    items = looking.items()
    while next(items) is None:
        pass
    closing = threading.Thread(target=items.close)  # type: ignore[attr-defined]
    closing.start()
    deadline = time.monotonic() + DEADLINE_S
    while not looking._stop and time.monotonic() < deadline:
        time.sleep(0.001)
    walk.go.set()
    closing.join(DEADLINE_S)
    assert not closing.is_alive()
    assert not looking._thread.is_alive()
    assert walk.given == CHUNK + 1
    assert looking._spool._file.closed


def test_what_breaks_in_the_walk_comes_out(photos: Path) -> None:
    make(photos, "a.jpg")
    made = Made(photos)

    def breaking() -> Iterator[File]:
        yield from Walk([(1, made.root.path)]).files()
        raise MemoryError

    made.survey.walk = walk = Held(made.walk, 0)  # type: ignore[assignment]
    walk.files = breaking  # type: ignore[method-assign]
    items = made.survey.items()
    with pytest.raises(MemoryError):
        list(items)
    assert not made.survey.walking
    assert not made.survey._thread.is_alive()
