"""annidx.beside: what was added is found as a scan of all of it finds it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import annidx
from annidx import beside
from annidx.beside import Both
from annidx.images.extract import bytes_record
from annidx.uploads import Uploads
from tests.commands.running import PICTURES, demo_build, run

NAMES = ("thumb", "signature", "fingerprint")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Return an index with a graph of thumbs, and 30 noisy copies of its pictures beside it."""
    place = tmp_path_factory.mktemp("beside") / "index"
    shutil.copytree(demo_build(tmp_path_factory)[0], place)
    run("build", "--graphs", "thumb", index=place, code=3)
    index, uploads, rng = annidx.open(place), Uploads(place), np.random.default_rng(1)
    files = sorted(PICTURES.rglob("*.jpg"))[:10]
    records = [bytes_record(path.read_bytes(), NAMES) for path in files]
    for at in range(30):
        record = records[at % len(records)]
        thumb = np.frombuffer(record.descriptors["thumb"], np.uint8).astype(np.int16)
        noisy = (thumb + rng.integers(-at, at + 1, thumb.shape)).clip(0, 255).astype(np.uint8)
        changed = {**record.descriptors, "thumb": noisy.tobytes()}
        uploads.put(f"key {at}", {"at": at}, replace(record, descriptors=changed))
    return Both(index, uploads.opened)


def found(both: Both, **options: Any) -> list[list[tuple[bytes, float]]]:
    """Return path and distance of what is near to each picture of the index."""
    records = both.index.pictures_of(both.index.picture_ids().tolist())
    answers = both.query(records, payload={}, metric="thumb", **options)
    return [[(match.raw_path, match.distance) for match in each] for each in answers]


@pytest.mark.parametrize(
    "options",
    [{"k": None, "cutoff": 1200.0}, {"k": 3}, {"k": None, "cutoff": 200.0, "transforms": "flips"}],
    ids=str,
)
def test_it_is_found_as_by_a_scan(
    both: Both, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    assert both.index.engines.usable_graphs("thumb")
    quick = found(both, **options)
    monkeypatch.setattr(beside._Engines, "_tail", lambda *_: None)
    assert quick == found(both, **options)
    assert sum(path.startswith(b"upload:") for each in quick for path, _ in each) >= 10


def test_a_query_by_the_graph_finds_what_has_none_as_well(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = found(both)
    assert found(both, engine="graph") == expected
    monkeypatch.setattr(beside._Engines, "_tail", lambda *_: None)
    assert found(both, engine="graph") == expected
