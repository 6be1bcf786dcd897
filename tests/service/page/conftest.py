"""One browser for all tests of the page, and archives of a few groups."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import annidx
from annidx import Options
from tests.making import photo, save
from tests.service.page.browsing import browsing
from tests.service.test_pictures import HOSTILE


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser that is gone before other tests: its event loop would disturb theirs."""
    with browsing() as started:
        yield started


def built(photos: Path) -> Path:
    """Build an index beside a folder of pictures."""
    index = photos.parent / "index"
    annidx.build(photos, index=index, options=Options(workers=1))
    return index


def duplicates(photos: Path, seeds: range) -> None:
    """Save pictures, each with a smaller copy and a copy of its bytes."""
    for seed in seeds:
        picture = photo(seed, (320, 240))
        original = save(photos / "camera" / f"{seed}.png", picture)
        save(photos / "web" / f"{seed} small.jpg", picture.resize((160, 120)))
        (photos / "backup").mkdir(exist_ok=True)
        shutil.copy2(original, photos / "backup" / f"{seed}.png")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return a folder of two groups of three, with an index beside it; to be changed."""
    duplicates(tmp_path / "photos", range(2))
    built(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the index of two groups of three; not to be changed."""
    photos = tmp_path_factory.mktemp("shared") / "photos"
    duplicates(photos, range(2))
    return built(photos)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the index of pictures with hostile names, each twice; not to be changed."""
    photos = tmp_path_factory.mktemp("hostile") / "photos"
    for seed, name in enumerate(HOSTILE):
        for folder in ("a", "{{ 7 * 7 }}<b>"):
            plain = save(photos / folder / f"{seed}.jpg", photo(seed, (320, 240)))
            plain.rename(plain.parent / os.fsdecode(name))
    return built(photos)
