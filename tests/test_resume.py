"""Builds that are killed, interrupted or run out of space, and the builds after them.

Most happen in this process, which is quicker: a kill is an exception after which nothing more is
saved. Some kill the real command line with real workers.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from annidx import building, graphs, ledger, roots
from annidx.images.extract import Extractor
from annidx.ledger import Ledger
from annidx.model import BuildReport, Record
from annidx.options import Options
from annidx.store import files, journal, snapshot, writer
from annidx.store.journal import Journal
from annidx.store.manifest import Manifest
from annidx.store.snapshot import Snapshot
from annidx.store.writer import SegmentWriter
from tests.making import LONG_AGO_NS, aged, photo, save

# A build that is killed in this process does not close its journal.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

COUNT = 8


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a kill left open is found here, and not in the middle of another test."""
    yield
    gc.collect()


class Killed(BaseException):
    """What nobody catches."""


class Place:
    """An archive, its index, and builds of it in this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.archive, self.index = folder / "photos", folder / "index"
        self.patch = monkeypatch
        for number in range(COUNT):
            save(self.archive / f"{number}.png", photo(number))

    def build(self, *folders: Path, known: bool = False, **options: Any) -> BuildReport:
        """Build to the end; whatever was there before, nothing is left lying about."""
        named = [] if known else list(folders) or [self.archive]
        with self.patch.context() as patch:
            patch.setattr(building, "map_items", here)
            report = building.build(named, self.index, Options(workers=1, **options))
        assert list((self.index / "tmp").iterdir()) == []
        assert list((self.index / "staging").iterdir()) == []
        return report

    def kill(self, after: int, *folders: Path, **options: Any) -> None:
        """Build, and die when so many files were looked at: all rows but these were noted."""

        def dying(function: Any, batches: Iterable[Any], **_: object) -> Iterator[Any]:
            for at, outcome in enumerate(here(function, batches)):
                if at == after:
                    raise Killed
                yield outcome
            raise Killed

        with self.patch.context() as patch:
            patch.setattr(building, "map_items", dying)
            patch.setattr(writer, "_BATCH", 1)
            patch.setattr(ledger, "_CARRY_ROWS", 1)
            patch.setattr(SegmentWriter, "checkpoint", lambda _: None)
            with pytest.raises(Killed):
                building.build(
                    list(folders) or [self.archive], self.index, Options(workers=1, **options)
                )

    def table(self) -> dict[str, Record]:
        """Return the live pictures by name; no name and no number is there twice."""
        return records(snapshot.current(self.index))

    def ids(self) -> dict[str, int]:
        return {name: each.image_id for name, each in self.table().items()}

    def young(self) -> None:
        """Touch all files."""
        for path in self.archive.rglob("*.png"):
            os.utime(path)


def here(
    function: Callable[[Any], Any], batches: Iterable[Sequence[Any]], **_: object
) -> Iterator[Any]:
    """Do the work of map_items in this process."""
    for batch in batches:
        yield from map(function, batch)


def records(opened: Snapshot) -> dict[str, Record]:
    rows = np.flatnonzero(opened.pictures.live)
    names = [os.fsdecode(path).rpartition("photos/")[2] for path in opened.paths(rows)]
    others = opened.paths(np.flatnonzero(opened.other.live), opened.other)
    found = dict(zip(names, opened.pictures.records(rows), strict=True))
    assert len(found) == len(names)
    assert len({each.image_id for each in found.values()}) == len(names)
    assert all(each.image_id < opened.manifest.next_image_id for each in found.values())
    assert not set(others) & set(opened.paths(rows))
    return found


def counted(report: BuildReport) -> dict[str, int]:
    """Return what a build did, as far as it did anything."""
    names = ("added", "adopted", "removed", "decoded", "hashed", "failed")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


ALL = {f"{number}.png" for number in range(COUNT)}


# --- what was extracted is found by the next build ------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 5, COUNT])
def test_a_first_build(place: Place, after: int) -> None:
    place.kill(after)
    assert snapshot.current_manifest(place.index) is None
    report = place.build()
    expected = {"added": COUNT, "adopted": after, "decoded": COUNT - after}
    assert counted(report) == {name: n for name, n in expected.items() if n}
    assert set(place.table()) == ALL
    assert counted(place.build()) == {}


def test_again_and_again(place: Place) -> None:
    """Each of them goes on where the one before was killed."""
    for _ in range(3):
        place.kill(2)
    assert counted(place.build()) == {"added": COUNT, "adopted": 6, "decoded": COUNT - 6}
    assert set(place.table()) == ALL


def test_killed_while_it_takes_over(place: Place) -> None:
    """Nothing of what the first one left is lost, wherever the second one is killed."""
    place.kill(5)
    for name in ("take", "flush"):

        def dying(*_: object) -> None:
            raise Killed

        with place.patch.context() as patch:
            patch.setattr(SegmentWriter, name, dying)
            with pytest.raises(Killed):
                building.build([place.archive], place.index, Options(workers=1))
    place.kill(0)
    assert counted(place.build()) == {"added": COUNT, "adopted": 5, "decoded": COUNT - 5}


def test_a_later_build(place: Place) -> None:
    """With a changed, a renamed, a removed, a copied and some new pictures."""
    place.build()
    before = place.ids()
    save(place.archive / "0.png", photo(50), mtime_ns=LONG_AGO_NS + 1)
    (place.archive / "1.png").rename(place.archive / "0 moved.png")
    (place.archive / "2.png").unlink()
    shutil.copy2(place.archive / "3.png", place.archive / "0 copy.png")
    for number in range(4):
        save(place.archive / f"new {number}.png", photo(60 + number))
    place.kill(5)
    assert place.ids() == before
    report = place.build()
    assert report.decoded == 2
    assert report.removed == 1
    after = place.ids()
    assert set(after) == ALL - {"1.png", "2.png"} | {
        *("0 moved.png", "0 copy.png", *(f"new {number}.png" for number in range(4)))
    }
    assert after["0 moved.png"] == before["1.png"]
    assert after["0 copy.png"] not in before.values()
    assert after["0.png"] not in before.values()
    assert counted(place.build()) == {}


def test_young_files(place: Place) -> None:
    """They are hashed again, not decoded, and count as added all the same."""
    place.young()
    place.kill(5)
    report = place.build()
    assert (report.added, report.adopted, report.decoded) == (COUNT, 5, COUNT - 5)
    assert set(place.table()) == ALL


def test_young_files_of_before(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it makes the graph, after rows of files that were only hashed were written."""
    place.young()
    place.build()
    for number in range(4):
        save(place.archive / f"new {number}.png", photo(60 + number))

    def dying(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(building, "map_items", here)
        patch.setattr(graphs, "make", dying)
        with pytest.raises(Killed):
            building.build([place.archive], place.index, Options(workers=1, rebuild_graphs=True))
    report = place.build()
    assert report.decoded == 0
    assert report.images == COUNT + 4


def test_a_file_that_changes_after_the_kill(place: Place) -> None:
    """It has a row from the build that was killed, and gets another one."""
    place.build()
    save(place.archive / "0.png", photo(50), mtime_ns=LONG_AGO_NS + 1)
    save(place.archive / "1.png", photo(51), mtime_ns=LONG_AGO_NS + 1)
    place.kill(2)
    save(place.archive / "0.png", photo(52), mtime_ns=LONG_AGO_NS + 2)
    place.kill(1)
    report = place.build()
    assert counted(report) == {"added": 2, "adopted": 2}
    assert set(place.table()) == ALL


def test_a_file_that_is_removed_after_the_kill(place: Place) -> None:
    place.build()
    save(place.archive / "0.png", photo(50), mtime_ns=LONG_AGO_NS + 1)
    save(place.archive / "new.png", photo(51))
    place.kill(2)
    (place.archive / "0.png").unlink()
    (place.archive / "new.png").unlink()
    report = place.build()
    assert (report.images, report.decoded) == (COUNT - 1, 0)
    assert set(place.table()) == ALL - {"0.png"}


@pytest.mark.parametrize("how", ["moved back", "copied back", "both"])
def test_a_file_that_moves_and_comes_back(place: Place, how: str) -> None:
    """The row of its second path was noted under the number of the first."""
    place.build()
    before = place.ids()
    old, new = place.archive / "0.png", place.archive / "renamed.png"
    old.rename(new)
    place.kill(1)
    if how == "moved back":
        new.rename(old)
    else:
        shutil.copy2(new, old)
    if how == "copied back":
        new.unlink()
    report = place.build()
    assert report.decoded == 0
    after = place.ids()
    assert set(after) == (ALL | {"renamed.png"} if how == "both" else ALL)
    assert before["0.png"] in after.values()


def test_a_picture_that_broke_and_was_repaired(place: Place) -> None:
    """Rows of both kinds under one path."""
    broken = place.archive / "0.png"
    place.build()
    broken.rename(place.archive.parent / "saved")
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    aged(broken)
    place.kill(1)
    (place.archive.parent / "saved").replace(broken)
    report = place.build()
    assert (report.images, report.failed) == (COUNT, 0)
    assert set(place.table()) == ALL
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    place.kill(1)
    report = place.build()
    assert (report.images, report.failed) == (COUNT - 1, 1)
    assert set(place.table()) == ALL - {"0.png"}


def test_an_offline_root_after_the_kill(place: Place) -> None:
    """What was noted of it is kept, once for each picture."""
    place.build()
    other = place.archive.parent / "other"
    save(other / "9.png", photo(9))
    place.build(other)
    for step in (1, 2):
        save(place.archive / "0.png", photo(50 + step), mtime_ns=LONG_AGO_NS + step)
        place.kill(1)
    place.archive.rename(place.archive.parent / "away")
    report = place.build(known=True)
    assert (report.images, report.decoded) == (COUNT + 1, 0)
    table = place.table()
    assert len(table) == COUNT + 1
    assert table["0.png"].file.mtime_ns == LONG_AGO_NS + 2


# --- options ------------------------------------------------------------------------------------


def test_a_rebuild(place: Place) -> None:
    place.build()
    before = place.ids()
    place.kill(5, rebuild=True)
    assert place.ids() == before
    report = place.build(rebuild=True)
    assert counted(report) == {"decoded": COUNT}
    assert place.ids() == before
    place.kill(5, rebuild=True)
    assert place.build().decoded == 0
    assert place.ids() == before


def test_other_descriptors(place: Place) -> None:
    """All is extracted anew; a build that is killed and asked the same again goes on."""
    place.build()
    before = place.ids()
    wanted = ["thumb", "gray8"]
    place.kill(5, descriptors=wanted)
    report = place.build(descriptors=wanted)
    assert report.decoded == COUNT - 5
    assert place.ids() == before
    assert set(place.table()["0.png"].descriptors) == set(wanted)
    place.kill(5, descriptors=["thumb"])
    report = place.build()  # asked for something else: what was noted does not fit
    assert counted(report) == {}
    assert place.ids() == before


# --- roots that come and go in between ------------------------------------------------------------


def test_roots_in_between(place: Place, tmp_path: Path) -> None:
    other, third = tmp_path / "other", tmp_path / "third"
    save(other / "9.png", photo(9))
    save(third / "10.png", photo(10))
    place.build(other)
    place.kill(5)
    roots.add(place.index, [third])
    report = place.build()
    assert (report.images, report.adopted, report.decoded) == (COUNT + 2, 5, COUNT - 5 + 1)
    assert set(place.table()) >= ALL


def test_a_root_that_was_not_published_gets_another_number(place: Place, tmp_path: Path) -> None:
    """The build that was killed had given its number to another folder."""
    other = tmp_path / "other"
    save(other / "9.png", photo(9))
    place.kill(5)
    report = place.build(other, place.archive)
    assert (report.images, report.adopted) == (COUNT + 1, 5)
    found = annotated(place)
    assert found["9.png"] != found["0.png"]
    assert set(place.table()) >= ALL


def annotated(place: Place) -> dict[str, bytes]:
    """Return the root's path of each picture."""
    opened = snapshot.current(place.index)
    by_id = opened.root_paths
    return {
        Path(os.fsdecode(each.file.path)).name: by_id[each.file.root_id]
        for each in place.table().values()
    }


@pytest.mark.parametrize("what", ["moved", "removed", "above"])
def test_a_root_that_changes_in_between(place: Place, tmp_path: Path, what: str) -> None:
    """What does not fit any more is extracted again, and nothing is wrong."""
    other = tmp_path / "other" / "photos"
    save(other / "9.png", photo(9))
    place.build(other)
    save(other / "10.png", photo(10))
    place.kill(5)
    if what == "moved":
        other.rename(tmp_path / "moved")
        roots.move(place.index, other, tmp_path / "moved")
        report = place.build()
        assert (report.images, report.decoded) == (COUNT + 2, COUNT + 1 - 5)
    elif what == "removed":
        roots.remove(place.index, other)
        report = place.build()
        assert report.images == COUNT
    else:
        report = place.build(tmp_path)
        assert report.images == COUNT + 2
    assert {Path(name).name for name in place.table()} >= ALL


# --- a long build publishes in between ------------------------------------------------------------


def published(index: Path) -> list[dict[str, Record]]:
    """Return what each snapshot holds; each can be opened and has no picture twice."""
    found = []
    for path in files.manifest_paths(index):
        manifest = Manifest.from_json(path.read_bytes(), "")
        opened = Snapshot(index, manifest)
        found.append(records(opened))
        assert manifest.counts.get("ok", 0) == len(found[-1])
    return found


def test_interim_snapshots_after_a_kill(place: Place) -> None:
    place.build()
    before = place.table()
    for step in (1, 2):
        save(place.archive / "0.png", photo(50 + step), mtime_ns=LONG_AGO_NS + step)
        (place.archive / f"{2 + step}.png").rename(place.archive / f"0 renamed {step}.png")
        place.kill(2)
    place.patch.setattr(building, "INTERIM_S", 0.0)
    for number in range(3):
        save(place.archive / f"new {number}.png", photo(60 + number))
    place.build()
    snapshots = published(place.index)
    assert len(snapshots) >= 4
    assert [len(each) for each in snapshots] == [COUNT, COUNT + 1, COUNT + 2, COUNT + 3, COUNT + 3]
    ids = {name: each.image_id for name, each in snapshots[-1].items()}
    assert ids["0 renamed 1.png"] == before["3.png"].image_id
    assert ids["0 renamed 2.png"] == before["4.png"].image_id


def test_interim_snapshots_while_a_root_is_merged(place: Place, tmp_path: Path) -> None:
    """Its pictures go over to the root above it one by one."""
    sub = place.archive / "b sub"
    for number in range(3):
        save(sub / f"{number}.png", photo(30 + number))
    place.build(sub)
    place.patch.setattr(building, "INTERIM_S", 0.0)
    save(place.archive / "c.png", photo(40))
    report = place.build()
    assert report.images == COUNT + 4
    for each in published(place.index):
        assert {name for name in each if "sub" in name} == {f"b sub/{n}.png" for n in range(3)}
    assert len(snapshot.current(place.index).manifest.roots) == 1


@pytest.mark.parametrize("over", ["0.png", "7.png"])
def test_interim_snapshots_when_pictures_change_places(place: Place, over: str) -> None:
    """Also over one that is there no more, and over one that could not be read."""
    (place.archive / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    aged(place.archive / "broken.png")
    place.build()
    place.patch.setattr(building, "INTERIM_S", 0.0)
    (place.archive / "3.png").rename(place.archive / over)
    (place.archive / "4.png").rename(place.archive / "x")
    (place.archive / "5.png").rename(place.archive / "4.png")
    (place.archive / "x").rename(place.archive / "5.png")
    (place.archive / "6.png").rename(place.archive / "broken.png")
    report = place.build()
    assert (report.images, report.failed, report.removed) == (COUNT - 1, 0, 1)
    assert len(published(place.index)) > 3


def test_a_kill_after_an_interim_snapshot(place: Place) -> None:
    place.build()
    for number in range(6):
        save(place.archive / f"new {number}.png", photo(60 + number))
    stamps = iter([0.0, 0.0, 0.0, 10_000.0, *[10_000.0] * 1000])
    with place.patch.context() as patch:
        patch.setattr(building, "time", SimpleNamespace(monotonic=lambda: next(stamps)))
        place.kill(4)
    assert 2 <= snapshot.current(place.index).manifest.number < 5
    report = place.build()
    assert report.decoded == 2
    assert len(place.table()) == COUNT + 6


# --- anything, anywhere ---------------------------------------------------------------------------


class Deadline:
    """Functions of a build, of which one call dies; after a kill, no other one does anything.

    Parameters
    ----------
    calls : int
        So many calls of any of them go well.
    kill : bool
        False for Ctrl-C: what the build does on its way out is done.
    """

    FUNCTIONS: tuple[tuple[Any, str], ...] = (
        (Extractor, "__call__"),
        (files, "replace"),
        (graphs, "make"),
        (journal, "_write_whole"),
        (Journal, "replace_old"),
        (Journal, "restart"),
        (Ledger, "settle"),
        (SegmentWriter, "take"),
        (SegmentWriter, "_write"),
        (snapshot, "add_table"),
        (snapshot, "publish"),
    )

    def __init__(self, calls: int, *, kill: bool, patch: pytest.MonkeyPatch) -> None:
        self.calls, self.kill, self.dead = calls, kill, False
        for owner, name in self.FUNCTIONS:
            patch.setattr(owner, name, self.watched(getattr(owner, name)))

    def watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            if self.dead:
                raise Killed
            before = self.calls % 2
            self.calls -= 1
            if self.calls == 0 and before:
                self.die()
            result = function(*args, **options)
            if self.calls == 0 and not before:
                self.die()
            return result

        return call

    def die(self) -> None:
        self.dead = self.kill
        raise Killed


class Changes:
    """Random changes of an archive."""

    def __init__(self, rng: Random, folders: Sequence[Path]) -> None:
        self.rng, self.folders, self.number = rng, folders, 100

    def files(self) -> list[Path]:
        return sorted(path for folder in self.folders for path in folder.rglob("*.png"))

    def name(self) -> Path:
        self.number += 1
        folder = self.rng.choice(self.folders)
        return folder / f"{self.rng.randrange(30):02}.png"

    def age(self, path: Path) -> None:
        """Leave it young, or let it look old; often as old as another one."""
        if self.rng.random() < 0.8:
            aged(path, LONG_AGO_NS + self.rng.randrange(3))

    def one(self) -> None:
        """Change something."""
        kinds = (self.new, self.new, self.change, self.remove, self.rename, self.copy, self.touch)
        self.rng.choice([*kinds, self.swap, self.spoil, self.sidecar, self.replace])()

    def any(self) -> Path:
        return self.rng.choice(self.files() or [self.new()])

    def new(self) -> Path:
        path = self.name()
        save(path, photo(self.number))
        self.age(path)
        return path

    def change(self) -> None:
        path = self.any()
        self.number += 1
        path.unlink()  # with another name it is a file of its own
        save(path, photo(self.number), mtime_ns=LONG_AGO_NS + self.number)

    def remove(self) -> None:
        self.any().unlink()

    def rename(self) -> None:
        self.any().rename(self.name())

    def copy(self) -> None:
        path, new = self.any(), self.name()
        if path != new:
            shutil.copy2(path, new)

    def touch(self) -> None:
        self.age(self.any())

    def swap(self) -> None:
        one, other = self.any(), self.any()
        one.rename(one.with_suffix(".x"))
        if other != one:
            other.rename(one)
        one.with_suffix(".x").rename(other)

    def spoil(self) -> None:
        path = self.any()
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(self.rng.randrange(3)))
        self.age(path)

    def sidecar(self) -> None:
        path = self.any().with_suffix(".xmp")
        if path.exists():
            path.unlink()
        else:
            path.write_bytes(b"")

    def replace(self) -> None:
        """Put a copy in the place of another file."""
        self.any().replace(self.any())


def content(index: Path) -> dict[bytes, tuple[object, ...]]:
    """Return what an index holds, without what depends on its past."""
    opened = snapshot.current(index)
    records(opened)
    found: dict[bytes, tuple[object, ...]] = {}
    for rowset in (opened.pictures, opened.other):
        rows = np.flatnonzero(rowset.live)
        for path, each in zip(opened.paths(rows, rowset), rowset.records(rows), strict=True):
            assert path not in found
            facts = replace(each.file, root_id=0, path=b"")
            found[path] = (facts, each.status, each.content_hash, each.descriptors)
    return found


@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_the_index_is_as_if_it_was_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = Random(seed)
    monkeypatch.setattr(building, "map_items", here)
    monkeypatch.setattr(writer, "_BATCH", 2)
    monkeypatch.setattr(ledger, "_CARRY_ROWS", 2)
    folders = [tmp_path / "photos" / "a", tmp_path / "photos" / "b"]
    changes = Changes(rng, folders)
    for folder in folders:
        folder.mkdir(parents=True)
    for _ in range(10):
        changes.new()
    index = tmp_path / "index"
    for step in range(6):
        if step == 3:  # from now on both lie in one root
            folders[:] = [tmp_path / "photos"]
        for _ in range(rng.choice([0, 1, 2, 2])):
            options = Options(workers=1, rebuild=rng.random() < 0.1)
            is_away = rng.random() < 0.2 and index.exists()
            if is_away:
                folders[-1].rename(tmp_path / "away")
            with monkeypatch.context() as patch:
                patch.setattr(building, "INTERIM_S", rng.choice([0.0, 600.0]))
                Deadline(rng.randrange(1, 120), kill=rng.random() < 0.7, patch=patch)
                with contextlib.suppress(Killed):
                    building.build([each for each in folders if each.exists()], index, options)
            if is_away:
                (tmp_path / "away").rename(folders[-1])
            if snapshot.current_manifest(index) is not None:
                published(index)
            for _ in range(rng.randrange(4)):
                changes.one()
        building.build(folders, index, Options(workers=1))
        fresh = tmp_path / "fresh"
        building.build(folders, fresh, Options(workers=1))
        assert content(index) == content(fresh)
        assert list((index / "staging").iterdir()) == list((index / "tmp").iterdir()) == []
        shutil.rmtree(fresh)
