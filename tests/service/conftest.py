"""An index over the shipped pictures, and a service of it that tests share and do not change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.running import demo_build
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
