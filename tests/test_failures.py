"""annidx.failures: which files that could not be read are news; by building, in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from annidx import building
from annidx.options import Options
from tests.making import aged, photo, save

Build = Callable[..., list[str]]
BROKEN = b"\xff\xd8\xff no more "


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A picture, a broken one, an empty one."""
    save(tmp_path / "photos" / "0.png", photo(0))
    broken(tmp_path / "photos" / "broken.jpg")
    aged(touched(tmp_path / "photos" / "empty.jpg"))
    return tmp_path / "photos"


@pytest.fixture
def build(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Bring the index up to date and return the names of the failures that are news."""
    index = tmp_path / "index"

    def run(*roots: Path, stop_after: int = 1000, **options: Any) -> list[str]:
        monkeypatch.setattr(building, "map_items", worker(stop_after))
        named = list(roots) or ([] if index.exists() else [photos])
        report = building.build(named, index, Options(workers=1, **options))
        assert report.failed_new == len(report.new_failures) <= report.failed
        return [os.fsdecode(path).rpartition("/")[2] for path in report.new_failures]

    return run


def worker(stop_after: int) -> Callable[..., Iterator[Any]]:
    """Do the work of map_items in this process, up to a Ctrl-C."""

    def here(
        function: Callable[[Any], Any], batches: Iterable[Sequence[Any]], **_: object
    ) -> Iterator[Any]:
        done = 0
        for batch in batches:
            for item in batch:
                if done == stop_after:
                    raise KeyboardInterrupt
                yield function(item)
                done += 1

    return here


def broken(path: Path, text: bytes = b"") -> Path:
    path.write_bytes(BROKEN + text)
    return aged(path)


def touched(path: Path) -> Path:
    path.touch()
    return path


def test_old_failures_are_no_news(build: Build, photos: Path) -> None:
    assert build() == ["broken.jpg", "empty.jpg"]
    assert build() == []
    assert build(retry_failed=True) == build(rebuild=True) == []
    broken(photos / "broken.jpg", b"in another way")
    aged(photos / "empty.jpg", 10**18)
    (photos / "note.txt").write_text("no picture, no failure")
    assert build() == []
    broken(photos / "another.jpg", b"third")
    assert build() == ["another.jpg"]


def test_a_picture_that_breaks_is_news(build: Build, photos: Path) -> None:
    build()
    broken(photos / "0.png", b"third")
    assert build() == ["0.png"]
    save(photos / "0.png", photo(1))
    assert build() == []
    broken(photos / "0.png", b"third")
    assert build() == ["0.png"]


def test_what_was_moved_is_no_news_and_a_copy_is(build: Build, photos: Path) -> None:
    build()
    (photos / "sub").mkdir()
    (photos / "broken.jpg").rename(photos / "sub" / "moved.jpg")
    broken(photos / "new.jpg", b"another")
    assert build() == ["new.jpg"]
    broken(photos / "sub" / "copy.jpg")
    assert build() == ["copy.jpg"]
    # One empty file goes, two come: one of them is news.
    (photos / "empty.jpg").rename(photos / "a.jpg")
    touched(photos / "b.jpg")
    assert build() == ["b.jpg"]


def test_what_was_never_read_is_known_by_its_path_alone(
    build: Build, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    locked = {"first.png"}
    really = os.open

    def refusing(path: Any, *rest: Any, **more: Any) -> int:
        if any(os.fsdecode(path).endswith(name) for name in locked if not isinstance(path, int)):
            raise PermissionError(13, "Permission denied", path)
        return really(path, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)
    for number, name in enumerate(("first.png", "second.png"), 5):
        save(photos / name, photo(number))
    assert build() == ["first.png"]
    locked.clear()
    locked.add("second.png")
    aged(photos / "second.png", 10**18)
    assert build() == ["second.png"]


def test_nothing_is_forgotten_over_an_interruption(build: Build, photos: Path) -> None:
    build()
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        broken(photos / name, name.encode())
    with pytest.raises(KeyboardInterrupt):
        build(stop_after=2)
    assert build() == ["1.jpg", "2.jpg", "3.jpg"]
    assert build() == []


def test_a_root_out_of_sight_keeps_its_failures(build: Build, photos: Path, tmp_path: Path) -> None:
    build(photos)
    photos.rename(tmp_path / "elsewhere")
    assert build() == []
    (tmp_path / "elsewhere").rename(photos)
    assert build() == []
    assert build(photos.parent, exclude=["index"]) == []  # merged into a root above
