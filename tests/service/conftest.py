"""An index over the shipped pictures, and a service of it that tests share and do not change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.running import PICTURES, demo_build, run
from tests.service.serving import Served, serving


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the shared index over the shipped pictures; not to be changed."""
    return demo_build(tmp_path_factory)[0]


@pytest.fixture(scope="session")
def served(index: Path) -> Iterator[Served]:
    """Return a service of the shared index."""
    with serving(index) as service:
        yield service


@pytest.fixture(scope="session")
def unlike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an index of two pictures that have nothing in common; not to be changed."""
    place = tmp_path_factory.mktemp("unlike") / "index"
    run("build", PICTURES / "scans", index=place)
    return place


@pytest.fixture
def small_index(unlike: Path, tmp_path: Path) -> Path:
    """Return a copy of the index of two pictures that may be changed."""
    return Path(shutil.copytree(unlike, tmp_path / "small index"))
