"""Indexes are opened so that nobody has to wait for what could be in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from annidx import recognition
from annidx.service.holder import Held


def test_graphs_are_loaded_before_anybody_asks(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognition, "SCAN_S", 1.0)
    monkeypatch.setattr(recognition, "LOAD_S", 1e9)  # only what is loaded already is asked
    held = Held("demo", index)
    held.load()
    found = held.index.engines.recognition
    assert found.engine(1, "default", "auto") == "graph"
