"""annidx.ledger: which pictures are the ones that were known, which are new, which are copies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annidx import building
from annidx.model import BuildReport, Record
from annidx.options import Options
from annidx.store import snapshot
from tests.making import LONG_AGO_NS, aged, photo, save

Build = Callable[..., dict[str, int]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four pictures."""
    for number in range(4):
        save(tmp_path / "photos" / f"{number}.png", photo(number))
    return tmp_path / "photos"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A second root, with one picture."""
    save(tmp_path / "other" / "9.png", photo(9))
    return tmp_path / "other"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def build(photos: Path, other: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Bring both roots up to date and return what was done, as far as anything was."""
    monkeypatch.setattr(building, "map_items", here)

    def run(*roots: Path, **options: Any) -> dict[str, int]:
        named = list(roots) or ([] if index.exists() else [photos, other])
        return counted(building.build(named, index, Options(workers=1, **options)))

    run()
    return run


def here(
    function: Callable[[Any], Any], batches: Iterable[Sequence[Any]], **_: object
) -> Iterator[Any]:
    """Do the work of map_items in this process."""
    for batch in batches:
        yield from map(function, batch)


def counted(report: BuildReport) -> dict[str, int]:
    names = ("added", "adopted", "removed", "decoded", "hashed", "failed")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def table(index: Path) -> dict[str, Record]:
    """Return the live pictures by the last part of their names."""
    opened = snapshot.current(index)
    rows = np.flatnonzero(opened.pictures.live)
    found = list(opened.pictures.records(rows))
    names = [Path(os.fsdecode(path)).name for path in opened.paths(rows)]
    assert len({each.image_id for each in found}) == len(found) == len(set(names))
    return dict(zip(names, found, strict=True))


def who(record: Record) -> tuple[int, int]:
    """Return what a picture is known by as long as it lives."""
    return record.image_id, record.first_seen_ns


# --- moved --------------------------------------------------------------------------------------


def test_moved_to_another_root(build: Build, photos: Path, other: Path, index: Path) -> None:
    before = table(index)["0.png"]
    (photos / "0.png").rename(other / "moved.png")
    assert build() == {"hashed": 1}
    after = table(index)
    assert who(after["moved.png"]) == who(before)
    assert after["moved.png"].descriptors == before.descriptors
    assert "0.png" not in after


def test_moved_to_another_file_system(build: Build, photos: Path, other: Path, index: Path) -> None:
    """``mv`` makes it a copy with another inode, and removes the original."""
    before = table(index)["0.png"]
    shutil.copy2(photos / "0.png", other / "moved.png")
    (photos / "0.png").unlink()
    assert (other / "moved.png").stat().st_ino != before.file.inode
    assert build() == {"hashed": 1}
    assert who(table(index)["moved.png"]) == who(before)


@pytest.mark.parametrize("name", ["0 early.png", "z late.png"])
def test_moved_and_copied(build: Build, photos: Path, index: Path, name: str) -> None:
    """One of them is the picture that was known, whichever the walk finds first."""
    before = table(index)["1.png"]
    shutil.copy2(photos / "1.png", photos / name)
    (photos / "1.png").rename(photos / "moved.png")
    assert build() == {"added": 1, "hashed": 2}
    after = table(index)
    assert sorted([after[name].image_id, after["moved.png"].image_id])[0] == before.image_id
    assert before.descriptors == after[name].descriptors == after["moved.png"].descriptors


def test_moved_over_another_picture(build: Build, photos: Path, index: Path) -> None:
    """What was there is gone, what has moved is there."""
    before = table(index)
    (photos / "1.png").rename(photos / "0.png")
    assert build() == {"hashed": 1, "removed": 1}
    after = table(index)
    assert who(after["0.png"]) == who(before["1.png"])
    assert set(after) == set(before) - {"1.png"}


@pytest.mark.parametrize("number", [2, 3])
def test_pictures_that_change_places(build: Build, photos: Path, index: Path, number: int) -> None:
    """Their inodes tell which is which, though there is a file at every path as before."""
    before = table(index)
    for each in range(number):
        (photos / f"{each}.png").rename(photos / f"{each}.x")
    for each in range(number):
        (photos / f"{each}.x").rename(photos / f"{(each + 1) % number}.png")
    assert build() == {"hashed": number}
    after = table(index)
    for each in range(number):
        assert who(after[f"{(each + 1) % number}.png"]) == who(before[f"{each}.png"])


def test_moved_and_changed(build: Build, photos: Path, index: Path) -> None:
    before = table(index)["0.png"]
    (photos / "0.png").rename(photos / "moved.png")
    save(photos / "moved.png", photo(50))
    assert build() == {"added": 1, "decoded": 1, "removed": 1}
    assert table(index)["moved.png"].image_id != before.image_id


def test_a_second_name_that_takes_over(build: Build, photos: Path, index: Path) -> None:
    """A hard link, of which the first name goes: the same file."""
    before = table(index)["0.png"]
    (photos / "z.png").hardlink_to(photos / "0.png")
    assert build() == {}
    (photos / "0.png").unlink()
    assert build() == {"hashed": 1}
    assert who(table(index)["z.png"]) == who(before)


# --- copied, touched ----------------------------------------------------------------------------


def test_copied(build: Build, photos: Path, other: Path, index: Path) -> None:
    """Young or as old as the original, in the same root or another: not decoded."""
    before = table(index)
    shutil.copy2(photos / "0.png", other / "as old.png")
    shutil.copy(photos / "0.png", photos / "young.png")
    assert build() == {"added": 2, "hashed": 2}
    after = table(index)
    assert who(after["0.png"]) == who(before["0.png"])
    known = {each.image_id for each in before.values()}
    for name in ("as old.png", "young.png"):
        assert after[name].image_id not in known
        assert after[name].first_seen_ns > before["0.png"].first_seen_ns
        assert after[name].descriptors == before["0.png"].descriptors


def test_copied_over_another_picture(build: Build, photos: Path, index: Path) -> None:
    before = table(index)
    shutil.copy2(photos / "0.png", photos / "1.png")
    assert build() == {"added": 1, "hashed": 1, "removed": 1}
    after = table(index)
    assert who(after["0.png"]) == who(before["0.png"])
    assert after["1.png"].image_id not in {each.image_id for each in before.values()}


def test_written_anew_with_the_same_content(build: Build, photos: Path, index: Path) -> None:
    """Another inode and time: a restored backup."""
    before = table(index)["0.png"]
    shutil.copy2(photos / "0.png", photos / "x")
    aged(photos / "x", LONG_AGO_NS + 77).replace(photos / "0.png")
    assert build() == {"hashed": 1}
    assert who(table(index)["0.png"]) == who(before)
    assert build() == {}


def test_all_touched(build: Build, photos: Path, index: Path) -> None:
    before = {name: who(each) for name, each in table(index).items()}
    for path in photos.iterdir():
        aged(path, LONG_AGO_NS + 9)
    assert build() == {"hashed": 4}
    assert {name: who(each) for name, each in table(index).items()} == before
    assert build() == {}


@pytest.mark.parametrize("count", [20, 9])
def test_many_of_one_size(build: Build, photos: Path, index: Path, count: int) -> None:
    """Uncompressed pictures all have one: the file's own is among those that are compared."""
    for number in range(count):
        save(photos / f"{number:02}.bmp", photo(100 + number), mtime_ns=LONG_AGO_NS + number)
    assert build() == {"added": count, "decoded": count}
    before = table(index)
    for number in range(count):
        (photos / f"{number:02}.bmp").rename(photos / f"renamed {number:02}.bmp")
    assert build() == {"hashed": count}
    after = table(index)
    for number in range(count):
        assert who(after[f"renamed {number:02}.bmp"]) == who(before[f"{number:02}.bmp"])


# --- offline ------------------------------------------------------------------------------------


def test_a_copy_of_what_is_offline(build: Build, photos: Path, other: Path, index: Path) -> None:
    """The original keeps its row and its number: the disk will be back."""
    before = table(index)["0.png"]
    shutil.copy2(photos / "0.png", other / "copy.png")
    photos.rename(photos.parent / "away")
    assert build() == {"added": 1, "hashed": 1}
    after = table(index)
    assert len(after) == 6
    assert who(after["0.png"]) == who(before)
    assert after["copy.png"].image_id != before.image_id
    (photos.parent / "away").rename(photos)
    assert build() == {}


def test_moved_out_of_what_is_offline(build: Build, photos: Path, other: Path, index: Path) -> None:
    """The same inode: it is the file itself, and is not there twice."""
    before = table(index)["0.png"]
    (photos / "0.png").rename(other / "moved.png")
    photos.rename(photos.parent / "away")
    assert build() == {"hashed": 1}
    after = table(index)
    assert len(after) == 5
    assert who(after["moved.png"]) == who(before)


# --- broken -------------------------------------------------------------------------------------


def test_a_copy_of_a_broken_picture_is_read(build: Build, photos: Path, index: Path) -> None:
    """Reading it again is cheap: it is told, and counted on its own."""
    aged(save(photos / "x.png", photo(5)))
    (photos / "x.png").write_bytes((photos / "x.png").read_bytes()[:20])
    aged(photos / "x.png")
    assert build() == {"failed": 1}
    shutil.copy2(photos / "x.png", photos / "y.png")
    assert build() == {"failed": 2}
    assert snapshot.current(index).manifest.counts == {"ok": 5, "unreadable": 2}


def test_extracted_anew_under_a_new_name(build: Build, photos: Path, index: Path) -> None:
    """What --rebuild finds under another name is the same picture still."""
    before = table(index)
    (photos / "0.png").rename(photos / "moved.png")
    shutil.copy2(photos / "1.png", photos / "copy.png")
    assert build(rebuild=True) == {"added": 1, "decoded": 6}
    after = table(index)
    assert who(after["moved.png"]) == who(before["0.png"])
    assert who(after["1.png"]) == who(before["1.png"])
    assert after["copy.png"].image_id not in {each.image_id for each in before.values()}
