"""annidx.review.clean: copies with writing on them, or in a frame, are not suggested to be kept."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import annidx
from annidx.decisions import Decisions
from annidx.fingerprints import WHOLE, Floats
from annidx.review import clean, suggest
from annidx.service.page import board
from annidx.service.page.marks import Marks
from tests.commands.running import PICTURES, demo_build

BOX = (0.3, 0.8, 0.7, 0.9)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> annidx.Index:
    return annidx.open(demo_build(tmp_path_factory)[0])


def edits(*kinds: str) -> set[str]:
    """Return the shipped pictures that were made so."""
    with (PICTURES.parent / "ground_truth.csv").open(newline="", encoding="utf-8") as handle:
        return {row["file"] for row in csv.DictReader(handle) if row["edit"] in kinds}


def kept(index: annidx.Index, rules: str) -> tuple[set[str], dict[str, str]]:
    """Return what is suggested to be kept, and why it rather than each of the others."""
    marks = Marks(Decisions(), frozenset())
    found: set[str] = set()
    reasons: dict[str, str] = {}
    for group in board.make(index, board.Question()).groups:
        names = {
            each.image_id: str(Path(each.picture.path.decode()).relative_to(PICTURES))
            for each in group.members
        }
        looked = clean.marked(index, list(names), [each.picture for each in group.members])
        said = marks.suggestion(group, suggest.rules(rules), looked)
        assert said is not None
        found.add(names[said.kept])
        reasons |= {names[number]: why for number, why in said.reasons.items()}
    return found, reasons


def test_neither_writing_nor_frames_make_a_copy_the_one_to_keep(index: annidx.Index) -> None:
    written, framed = edits("captioned"), edits("framed")
    assert (len(written), len(framed)) == (4, 4)
    found, reasons = kept(index, suggest.DEFAULT)
    assert found & (written | framed) == set()
    assert {reasons[each] for each in written} == {clean.OVERLAID}
    assert {reasons[each] for each in framed} == {clean.FRAMED}
    others = {why for name, why in reasons.items() if name not in written | framed}
    assert others & {clean.OVERLAID, clean.FRAMED} == set(), "nothing else has anything added"


def test_without_the_rule_they_would_be(index: annidx.Index) -> None:
    found, _ = kept(index, "format,resolution,size,oldest")
    assert len(found & edits("captioned", "framed")) == 8


def textured(seed: int = 0) -> Floats:
    noise = np.random.default_rng(seed).normal(128, 20, (64, 64))
    return noise.astype(np.float32)


def covered(gray: Floats, value: float, step: int = 1) -> Floats:
    """Return a gray with a bar in the box, or with stripes."""
    made = gray.copy()
    made[51:58:step, 19:45] = value
    return made


def test_writing_is_on_the_side_that_has_more_detail() -> None:
    plain = textured() * 0.2 + 100
    written = covered(plain, 250, 2)
    turned = np.array([[1, 0, 0], [0, -1, 1]], np.float32)[None]
    assert clean.side_of(plain, written, WHOLE[None], BOX) == 2
    assert clean.side_of(written, plain, WHOLE[None], BOX) == 1
    assert clean.side_of(written, plain[:, ::-1], turned, BOX) == 1


@pytest.mark.parametrize("value", [0, 128, 255])
def test_what_a_bar_hides_is_no_addition(value: float) -> None:
    picture = textured()
    assert clean.side_of(picture, covered(picture, value), WHOLE[None], BOX) != 1
    assert clean.side_of(covered(picture, value), picture, WHOLE[None], BOX) != 2


def test_what_is_alike_and_what_is_nowhere_is_on_no_side() -> None:
    picture = textured()
    assert clean.side_of(picture, picture + 30, WHOLE[None], BOX) == 0
    assert clean.side_of(picture, picture, WHOLE[None], (0.0, 0.0, 1.0, 1.0)) == 0
