"""What two pictures are to each other: real pictures are read, measured, judged and worded."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from annidx import explaining, fingerprints
from annidx.images import extract
from annidx.kinds import Explanation, Facts, Seen
from annidx.model import Record
from annidx.search import differences, overlaying

NAMES = ("thumb", "gray64", "fingerprint")


def photo(seed: int, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """Return a picture with detail at all scales, and colours."""
    rng = np.random.default_rng(seed)
    levels = np.zeros((size[1], size[0], 3))
    for cells, strength in ((4, 60), (9, 45), (20, 35), (45, 25), (100, 12)):
        small = rng.normal(0, strength, (cells, cells, 3)) * [1, 0.8, 0.9]
        small = 0.7 * small.mean(axis=2, keepdims=True) + 0.3 * small
        for band in range(3):
            plane = Image.fromarray(small[..., band].astype(np.float32))
            levels[..., band] += np.asarray(plane.resize(size, Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(levels + 118, 5, 245).astype(np.uint8))


def saved(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **({"quality": 90} if form == "JPEG" else {}), **options)
    return data.getvalue()


def record(picture: Image.Image | bytes) -> Record:
    data = picture if isinstance(picture, bytes) else saved(picture)
    return extract.bytes_record(data, NAMES)


def facts(of: Record, **changes: Any) -> Facts:
    known = Facts(
        *(of.width, of.height, of.orientation, of.file.size, of.format),
        *(of.content_hash, of.pixel_hash, of.taken),
        camera=of.camera,
    )
    return replace(known, **changes)


def seen(one: Record, other: Record, guess: Any = fingerprints.WHOLE) -> Seen:
    """Measure two pictures, `guess` being where the first lies in the second, about."""
    grays, thumbs = (
        np.stack([np.frombuffer(each.descriptors[name], np.uint8) for each in (one, other)])
        for name in ("gray64", "thumb")
    )
    whole = np.stack([fingerprints.WHOLE] * 2)
    found = differences.differences(
        overlaying.Pictures(grays, thumbs),
        *(np.array([0]), np.array([1])),
        *(np.asarray(guess, np.float32)[None], whole),
    )
    return next(differences.rows(found))


def explained(one: Any, other: Any, guess: Any = fingerprints.WHOLE) -> Explanation:
    first, second = record(one), record(other)
    return explaining.explain(facts(first), facts(second), seen(first, second, guess))


def change(found: Explanation, what: str) -> dict[str, Any]:
    return next(each for each in found.changes if each["what"] == what)


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((48, 54, 456, 324))  # 10 % left, 15 % top, 5 % right, 10 % bottom


INTO_CROP = np.array([[1 / 0.75, 0, -0.15 / 0.75], [0, 1 / 0.85, -0.1 / 0.85]])


@pytest.mark.parametrize(
    ("edit", "what", "amounts"),
    [
        (lambda i: ImageEnhance.Brightness(i).enhance(1.15), "brighter", {"percent": (13, 17)}),
        (lambda i: ImageEnhance.Brightness(i).enhance(0.6), "darker", {"percent": (38, 42)}),
        (lambda i: ImageEnhance.Contrast(i).enhance(0.6), "less contrast", {"percent": (37, 43)}),
        (lambda i: i.convert("L"), "grayscale", {}),
        (lambda i: ImageEnhance.Color(i).enhance(2), "more saturated", {"percent": (70, 110)}),
        (lambda i: i.filter(ImageFilter.GaussianBlur(7)), "blurred", {"detail": (0, 0.6)}),
        (lambda i: i.resize((240, 180)), "resized", {"factor": (0.5, 0.5)}),
        (lambda i: i.resize((360, 360)), "stretched", {"across by down": (0.74, 0.76)}),
    ],
)
def test_an_edit_is_named_with_its_amount(
    edit: Callable[[Image.Image], Image.Image], what: str, amounts: dict[str, tuple[float, float]]
) -> None:
    image = photo(1)
    found = explained(image, edit(image))
    assert found.kind == "edited"
    named = change(found, what)
    for amount, (low, high) in amounts.items():
        assert low <= named[amount] <= high, (amount, named)


def test_a_crop_says_which_part_is_left() -> None:
    image = photo(2)
    found = explained(image, cropped(image), INTO_CROP)
    assert found.kind == "edited"
    named = change(found, "cropped")
    assert named["which"] == "second"
    assert named["box"] == pytest.approx([0.1, 0.15, 0.95, 0.9], abs=0.012)
    assert named["pixels"] == pytest.approx([48, 54, 456, 324], abs=5)
    assert "cropped to 10-95 % x 15-90 %" in found.words


def test_the_other_way_round_the_first_is_the_crop() -> None:
    image = photo(2)
    back = np.array([[0.75, 0, 0.15], [0, 0.85, 0.1]])
    named = change(explained(cropped(image), image, back), "cropped")
    assert named["which"] == "first"
    assert named["box"] == pytest.approx([0.1, 0.15, 0.95, 0.9], abs=0.012)


def thing(colour: tuple[int, int, int], size: tuple[int, int] = (480, 360)) -> Image.Image:
    """Return a shaded thing of one colour on white, with seams."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for step in range(40):
        shade = tuple(round(c * (0.55 + 0.011 * step)) for c in colour)
        draw.ellipse((130 + 2 * step, 60 + 2 * step, 360 - step, 320 - step), fill=shade)
    for at in range(5):
        draw.line((200 + 25 * at, 120, 190 + 30 * at, 260), fill=(30, 25, 20), width=4)
    return image


def slide(lines: list[str]) -> Image.Image:
    """Return a white page with lines of writing."""
    image = Image.new("RGB", (480, 360), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(22)
    for number, line in enumerate(lines):
        draw.text((40, 30 + 50 * number), line, fill="black", font=font)
    return image


def captioned(image: Image.Image) -> Image.Image:
    result = image.copy()
    font = ImageFont.load_default(36)
    options: dict[str, Any] = {"fill": "white", "stroke_width": 2, "stroke_fill": "black"}
    ImageDraw.Draw(result).text((24, 300), "photo by user 2014", font=font, **options)
    return result


RED, BLUE, DARK_RED = (190, 40, 30), (40, 60, 190), (120, 20, 15)


@pytest.mark.parametrize(
    "edit",
    [
        lambda i: i.resize((120, 90)),
        lambda i: i.resize((240, 180)).resize((480, 360)),
        lambda i: ImageEnhance.Brightness(i).enhance(1.3),
        lambda i: ImageEnhance.Contrast(i).enhance(0.7),
        lambda i: i.convert("L"),
        captioned,
    ],
)
def test_a_thing_on_white_may_be_edited(edit: Callable[[Image.Image], Image.Image]) -> None:
    assert explained(thing(RED), edit(thing(RED))).kind == "edited"


@pytest.mark.parametrize("colour", [BLUE, (40, 130, 50), (200, 170, 40)])
def test_a_thing_in_another_colour_is_another(colour: tuple[int, int, int]) -> None:
    assert explained(thing(RED), thing(colour)).kind == "similar"


def sepia(image: Image.Image) -> Image.Image:
    return ImageOps.colorize(ImageOps.grayscale(image), "#2b1a0e", "#f8e9c8")


def from_both_sides(one: Image.Image, other: Image.Image) -> list[str]:
    """Return the kind of a pair by the whole look, and of the same pair the other way round."""
    first, second = record(one), record(other)
    there, back = seen(first, second), seen(second, first)
    return [
        explaining.kind(
            *(facts(a), facts(b)),
            replace(look, back=behind if explaining.doubtful(look) else None),
        )
        for a, b, look, behind in ((first, second, there, back), (second, first, back, there))
    ]


@pytest.mark.parametrize(
    ("image", "edit"),
    [
        (photo(3), ImageOps.grayscale),
        (photo(3), sepia),
        (thing(RED), ImageOps.grayscale),
        (thing(RED), captioned),
        (thing(RED), lambda i: ImageEnhance.Brightness(i).enhance(1.3)),
    ],
)
def test_an_edit_is_one_whichever_comes_first(
    image: Image.Image, edit: Callable[[Image.Image], Image.Image]
) -> None:
    assert from_both_sides(image, edit(image)) == ["edited", "edited"]


@pytest.mark.parametrize("colours", [(RED, BLUE), (RED, (40, 130, 50)), (BLUE, (90, 90, 100))])
def test_two_colours_of_a_thing_are_two_things_whichever_comes_first(
    colours: tuple[tuple[int, int, int], tuple[int, int, int]],
) -> None:
    one, other = (thing(colour) for colour in colours)
    assert from_both_sides(one, other) == ["similar", "similar"]


def test_only_what_is_in_doubt_is_looked_at_from_the_other_side() -> None:
    image = photo(3)
    first, second = record(image), record(ImageEnhance.Brightness(image).enhance(1.2))
    assert not explaining.doubtful(seen(first, second))


LINES = ["are we long later", "before sea upon right", "make long on soon", "second might man"]


def test_a_page_with_another_line_is_another() -> None:
    other = [LINES[0], "but name", "several each us here as they were", "so"]
    assert explained(slide(LINES), slide(other)).kind == "similar"
    assert explained(slide(LINES), slide(LINES).resize((240, 180))).kind == "edited"


def test_frames_that_each_show_more_are_one_scene() -> None:
    large = photo(3, (520, 400))
    first, second = large.crop((10, 10, 490, 370)), large.crop((22, 4, 502, 364))
    assert explained(first, second).kind == "same-scene"


def test_a_filled_corner_shows_nothing() -> None:
    image = photo(4)
    turned = image.rotate(3, Image.Resampling.BICUBIC, fillcolor="white")
    angle = np.radians(3)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle) * 4 / 3], [np.sin(angle) * 3 / 4, np.cos(angle)]]
    )
    shift = np.array([0.5, 0.5]) - turn @ [0.5, 0.5]
    found = explained(image, turned, np.concatenate([turn, shift[:, None]], axis=1))
    assert found.kind == "edited"


TAKEN: dict[str, Any] = {"taken": "2024-05-03T10:42:00", "camera": "NIKON D750"}


@pytest.mark.parametrize(
    ("change", "apart"),
    [
        ({}, None),
        ({"camera": "Canon EOS 80D"}, True),
        ({"taken": "2024-05-03T10:42:02"}, True),
        ({"taken": "2024-05-03T12:42:00"}, None),
        ({"taken": ""}, None),
        ({"exposure": "1/30 s"}, True),
        ({"subsecond": "31"}, True),
        ({"subsecond": "30"}, False),
        ({"path": b"a/IMG_1235.JPG"}, True),
        ({"path": b"a/copy.jpg"}, None),
    ],
)
def test_what_exif_tells_of_two_exposures(change: dict[str, Any], apart: bool | None) -> None:
    one = Facts(**TAKEN, exposure="1/250 s", path=b"a/IMG_1234.JPG", subsecond="3")
    if "subsecond" not in change:
        one = replace(one, subsecond="")
    assert explaining.exposures_apart(one, replace(one, **change)) is apart


def test_of_one_camera_within_a_minute_is_one_scene_whatever_moved() -> None:
    first, second = record(photo(5)), record(photo(6))
    one, other = facts(first, **TAKEN), facts(second, **TAKEN)
    looked = seen(first, second)
    assert explaining.kind(one, replace(other, taken="2024-05-03T10:42:09"), looked) == "same-scene"
    assert explaining.kind(one, replace(other, taken="2024-05-03T11:55:09"), looked) == "similar"
    assert explaining.kind(one, replace(other, taken=""), looked) == "similar"
