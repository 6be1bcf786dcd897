"""An empty archive for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.review.archives import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Return an archive without any picture, not built yet."""
    return Archive(tmp_path)
