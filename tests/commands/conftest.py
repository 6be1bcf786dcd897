"""An index over the shipped pictures, built once; copies of it; a few pictures to play with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.commands.running import PICTURES, Done, Row, demo_build, json_lines, run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Return what the build of the shared index printed."""
    return demo_build(tmp_path_factory)[1]


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the shared index over the shipped pictures; not to be changed."""
    return demo_build(tmp_path_factory)[0]


@pytest.fixture(scope="session")
def all_pairs(index: Path) -> tuple[list[Row], Row]:
    """Return all pairs of the shared index, and the summary."""
    return json_lines("pairs", index=index)


@pytest.fixture(scope="session")
def thumb_index(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the shared index with a graph for thumbs, too; not to be changed."""
    copy = Path(shutil.copytree(index, tmp_path_factory.mktemp("thumbs") / "index"))
    run("build", "--graphs", "thumb", index=copy, code=3)  # two cannot be read
    return copy


@pytest.fixture
def own_index(index: Path, tmp_path: Path) -> Path:
    """Return a copy of the shared index that may be changed."""
    return Path(shutil.copytree(index, tmp_path / "own index"))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Return a folder with a photo, a smaller copy of it and another photo."""
    folder = tmp_path / "album"
    folder.mkdir()
    for name in ("2020-home/coffee.jpg", "exports/web/coffee_small.jpg", "scans/cameraman.jpg"):
        shutil.copy(PICTURES / name, folder)
    return folder
