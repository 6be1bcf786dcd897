"""What two pictures are to each other: real pictures are read, measured, judged and worded."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

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
