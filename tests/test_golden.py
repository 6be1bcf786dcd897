"""An index of format 1, made once and kept: it loads and answers as it did, for ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import annidx
from annidx.descriptors import DESCRIPTORS
from annidx.store import history
from tests.golden.make_v1 import answers
from tests.making import photo, save

GOLDEN = Path(__file__).parent / "golden" / "v1"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "index", tmp_path / "index"))


@pytest.fixture(scope="module")
def expected() -> Any:
    return json.loads((GOLDEN / "expected.json").read_bytes())


def test_it_answers_as_it_did(index: Path, expected: Any) -> None:
    assert json.loads(json.dumps(answers(annidx.open(index)))) == expected


@pytest.mark.parametrize("metric", ["thumb", "signature"])
def test_its_graphs_find_everything(index: Path, metric: str) -> None:
    """Two graphs, and pictures that none covers."""
    opened = annidx.open(index)
    assert len(opened.engines.usable_graphs(metric)) == 2
    vectors = opened.engines.vectors(metric)
    stored: Any = vectors.take(np.flatnonzero(vectors.live))
    if metric == "signature":
        from annidx.search.vectors import values  # noqa: PLC0415 - here only

        stored = values(DESCRIPTORS[metric], stored)
    by_graph, by_scan = (
        opened.query_vectors(stored, metric=metric, k=None, exact=exact) for exact in (False, True)
    )
    assert {each.answer.engine for each in by_graph} == {"graph"}
    assert [each.matches for each in by_graph] == [each.matches for each in by_scan]
    assert all(each.matches[0].distance == 0 for each in by_graph)


def test_it_is_whole(index: Path) -> None:
    assert not any(history.verify(index))
    assert [each.number for each in history.listing(index)] == [5, 6]


def test_it_can_be_gone_on_with(index: Path, tmp_path: Path, expected: Any) -> None:
    """Its root is out of sight; another one comes, and nothing of the first is lost."""
    save(tmp_path / "more" / "new.png", photo(1))
    report = annidx.build([tmp_path / "more"], index=index)
    assert report.images == len(expected["pictures"]) + 1
    assert report.added == 1
    opened = annidx.open(index)
    old = {row["path"]: row["image_id"] for row in expected["pictures"]}
    now = {row["path"]: row["image_id"] for row in answers(opened)["pictures"]}
    assert {path: now[path] for path in old} == old
    assert annidx.rollback(index=index).restores == 6
    assert json.loads(json.dumps(answers(annidx.open(index)))) == expected
