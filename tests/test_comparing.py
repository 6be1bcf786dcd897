"""What matches of the fingerprint are to each other, through the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image, ImageDraw, ImageOps

import annidx
from annidx import Index
from annidx.errors import UsageError
from annidx.found import Match, Pair
from annidx.kinds import Explanation
from annidx.options import Options
from tests.images.pictures import SHIPPED

METRIC: dict[str, Any] = {"metric": "fingerprint"}
SUNSET = SHIPPED / "2019-holiday/summit-sunset.jpg"


def scene(path: Path, moved: int, taken: str) -> None:
    """Write a frame of a burst: the camera moved a little, and so did a thing in the scene."""
    with Image.open(SHIPPED / "2020-home/coffee.jpg") as image:
        frame = image.convert("RGB")
    draw = ImageDraw.Draw(frame)
    draw.ellipse((150 + 6 * moved, 100, 220 + 6 * moved, 170), fill=(40, 160, 60))
    width, height = frame.size
    frame = frame.crop((4 * moved, 3 * moved, width - 40 + 4 * moved, height - 40 + 3 * moved))
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: taken, 0x9291: f"{moved}1"})
    exif.update({0x010F: "Maker", 0x0110: "Model", 0x0132: taken})
    frame.save(path, quality=92, exif=exif)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("comparing") / "archive"
    place.mkdir()
    with Image.open(SUNSET) as image:
        image.save(place / "a.jpg", quality=95)
        ImageOps.mirror(image).save(place / "mirrored.jpg", quality=90)
        image.crop((48, 0, 480, 320)).save(place / "cropped.jpg", quality=90)
    (place / "copy.jpg").write_bytes((place / "a.jpg").read_bytes())
    scene(place / "burst1.jpg", 0, "2021:05:06 07:08:09")
    scene(place / "burst2.jpg", 1, "2021:05:06 07:08:10")
    return place


@pytest.fixture(scope="module")
def index(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    where = tmp_path_factory.mktemp("comparing") / "index"
    options = Options(descriptors=("thumb", "signature", "fingerprint"))
    annidx.build([place], index=where, options=options)
    return annidx.open(where)


def said(found: Match | Pair) -> Explanation:
    assert found.explanation is not None
    return found.explanation


def kinds(found: Any) -> dict[str, str]:
    return {Path(each.path).name: each.kind for each in found}


def test_a_query_tells_what_its_matches_are(index: Index, place: Path) -> None:
    found = index.query(place / "a.jpg", **METRIC)
    assert kinds(found) == {
        "copy.jpg": "identical",
        "mirrored.jpg": "edited",
        "cropped.jpg": "edited",
    }
    told = {Path(each.path).name: said(each) for each in found}
    assert told["mirrored.jpg"].words == "mirrored left to right"
    (crop,) = [each for each in told["cropped.jpg"].changes if each["what"] == "cropped"]
    assert crop["box"] == pytest.approx([0.1, 0, 1, 1], abs=0.02)


def test_a_pair_says_what_b_is_to_a(index: Index) -> None:
    (pair,) = [each for each in index.find_pairs(**METRIC) if each.b.endswith("cropped.jpg")][:1]
    assert pair.a.endswith("/a.jpg")
    assert said(pair).words.startswith("cropped to")
    (other,) = [
        each
        for each in index.find_pairs(**METRIC)
        if each.a.endswith("cropped.jpg") and each.b.endswith("mirrored.jpg")
    ]
    assert {each["what"] for each in said(other).changes} >= {"mirrored", "cropped"}


def test_neighbours_say_what_they_are_to_their_query(index: Index) -> None:
    every = {Path(each.query).name: each for each in index.neighbours(**METRIC)}
    (back,) = [each for each in every["cropped.jpg"] if each.path.endswith("/a.jpg")]
    assert said(back).words.startswith("shows more")


def test_a_pair_is_an_edit_whichever_path_comes_first(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    with Image.open(SUNSET) as image:
        image.save(archive / "picture.jpg", quality=95)
        sepia = ImageOps.colorize(ImageOps.grayscale(image), "#2b1a0e", "#f8e9c8")
        sepia.save(archive / "brown.jpg", quality=95)
        sepia.save(archive / "sepia.jpg", quality=70)
    options = Options(descriptors=("thumb", "signature", "fingerprint"))
    annidx.build([archive], index=tmp_path / "index", options=options)
    found = annidx.open(tmp_path / "index").find_pairs(**METRIC)
    assert [pair.kind for pair in found] == ["edited"] * 3


def test_frames_of_a_burst_are_no_duplicates(index: Index) -> None:
    (pair,) = index.find_pairs(kinds="same-scene", **METRIC)
    assert (Path(pair.a).name, Path(pair.b).name) == ("burst1.jpg", "burst2.jpg")
    named = {Path(path).name for group in index.groups(**METRIC) for path in group.paths}
    assert named == {"a.jpg", "copy.jpg", "mirrored.jpg", "cropped.jpg"}
    wider = index.groups(kinds=("edited", "same-scene"), **METRIC)
    assert any("burst1.jpg" in path for group in wider for path in group.paths)


def test_only_some_kinds(index: Index, place: Path) -> None:
    found = index.query(place / "a.jpg", kinds=("edited",), k=1, **METRIC)
    assert set(kinds(found).values()) == {"edited"}
    assert not found.answer.complete
    assert kinds(index.query(place / "a.jpg", kinds="identical", **METRIC)) == {
        "copy.jpg": "identical"
    }
    (pair,) = index.find_pairs(kinds=("identical",), metric="thumb")
    assert pair.kind == "identical"


def test_kinds_that_nothing_can_have(index: Index) -> None:
    with pytest.raises(UsageError, match="expected one of 'identical'"):
        index.find_pairs(kinds=cast("Any", "edit"))
    with pytest.raises(UsageError, match="kind edited goes with metric fingerprint"):
        index.find_pairs(kinds=("edited",), metric="thumb")
