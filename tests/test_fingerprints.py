"""The fingerprint's arithmetic: regions, features, learned vectors, turns, stored bytes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from annidx import fingerprints
from annidx.descriptors import FINGERPRINT
from annidx.fingerprints import WHOLE, Floats
from annidx.images import decode, extract
from tests.images.pictures import photo

NAMES = ("thumb", "gray64", "fingerprint")

GOLDEN = [
    *(-0.1099, -0.3646, 0.0499, 0.1149, 0.1249, -0.0949, 0.1648, 0.2997),
]
"""The first eight values of the shipped photo's vector."""


def vector(image: Image.Image) -> Floats:
    """Return the vector of a whole picture, (1, 64)."""
    stored = extract.picture_record(decode.from_image(image), NAMES).descriptors["fingerprint"]
    codes = np.frombuffer(stored, np.uint8)[None, : FINGERPRINT.dimension]
    return fingerprints.decoded(codes)


def described(image: Image.Image, region: Floats = WHOLE) -> Floats:
    """Return the vector of a region of a picture, (1, 64)."""
    stored = extract.picture_record(decode.from_image(image), NAMES).descriptors
    gray = np.frombuffer(stored["gray64"], np.uint8).reshape(64, 64).astype(np.float32)
    thumb = np.frombuffer(stored["thumb"], np.uint8)
    return fingerprints.describe(gray, thumb, region[None])


def apart(one: Floats, other: Floats) -> float:
    return float(np.linalg.norm(one - other))


def test_golden_values() -> None:
    """The weights of this version never change."""
    assert vector(photo())[0, :8] == pytest.approx(GOLDEN, abs=0.006)


@pytest.mark.parametrize(
    ("edit", "most"),
    [
        (lambda image: ImageEnhance.Brightness(image).enhance(0.7), 0.15),
        (lambda image: ImageEnhance.Contrast(image).enhance(1.4), 0.3),
        (lambda image: image.resize((200, 150)), 0.1),
        (lambda image: image.convert("L").convert("RGB"), 0.4),
        (lambda image: image.point([round(255 * (i / 255) ** 1.5) for i in range(256)] * 3), 0.4),
    ],
)
def test_edits_of_tone_and_scale_move_little(edit: object, most: float) -> None:
    assert callable(edit)
    assert apart(vector(photo()), vector(edit(photo()))) <= most


def test_other_pictures_lie_apart() -> None:
    other = Image.fromarray(np.random.default_rng(5).integers(0, 256, (6, 8, 3), dtype=np.uint8))
    assert apart(vector(photo()), vector(other.resize((480, 360)))) > 1.0


@pytest.mark.parametrize(
    ("turn", "how"),
    [
        (1, ImageOps.mirror),
        (2, ImageOps.flip),
        (3, lambda image: image.transpose(Image.Transpose.ROTATE_180)),
        (4, lambda image: image.transpose(Image.Transpose.TRANSPOSE)),
        (5, lambda image: image.transpose(Image.Transpose.ROTATE_270)),
        (6, lambda image: image.transpose(Image.Transpose.ROTATE_90)),
        (7, lambda image: image.transpose(Image.Transpose.TRANSVERSE)),
    ],
)
def test_a_turned_vector_is_that_of_the_turned_picture(turn: int, how: object) -> None:
    assert callable(how)
    upright, turned = described(photo()), described(how(photo()))
    assert apart(fingerprints.turned(upright, turn), turned) < 0.02
    assert apart(upright, turned) > 0.5


def test_a_turn_map_says_where_points_come_from() -> None:
    pixels = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    for turn in range(fingerprints.TURNS):
        square = pixels[0].T if turn & 4 else pixels[0]
        square = square[:, ::-1] if turn & 1 else square
        square = square[::-1] if turn & 2 else square
        read = fingerprints.sample(pixels, fingerprints.turn_map(turn)[None], 4)[0]
        assert np.abs(read - square).max() < 0.01


def test_a_region_is_read_as_the_cropped_picture() -> None:
    image = photo()
    width, height = image.size
    crop = image.crop((width // 10, height // 5, width * 9 // 10, height))
    region = fingerprints.box_region(0.2, 1.0, 0.1, 0.9)
    assert apart(described(image, region), described(crop)) < 0.12
    assert apart(described(image), described(crop)) > 0.4


def test_a_region_by_area_is_a_mean() -> None:
    pixels = np.zeros((1, 8, 8), np.float32)
    pixels[0, 2:6, 2:6] = 80
    inner = fingerprints.read(pixels, fingerprints.box_region(0.25, 0.75, 0.25, 0.75)[None], 2)
    assert np.allclose(inner, 80)
    outer = fingerprints.read(pixels, WHOLE[None], 2)
    assert np.allclose(outer, 20)


def test_stored_bytes_come_back() -> None:
    vectors = fingerprints.unit(np.random.default_rng(1).normal(size=(2, 64)).astype(np.float32))
    region = fingerprints.box_region(0.1, 0.8, 0.0, 0.5)
    stored = np.frombuffer(fingerprints.packed(vectors, region[None]), np.uint8)[None]
    assert stored.shape == (1, FINGERPRINT.width)
    assert fingerprints.present(stored).tolist() == [[True, True, False, False]]
    assert np.array_equal(fingerprints.regions_of(stored)[0, 1], region)
    assert np.array_equal(fingerprints.regions_of(stored)[0, 0], WHOLE)
    for view in range(2):
        codes = stored[:, 64 * view : 64 * view + 64]
        assert apart(fingerprints.decoded(codes), vectors[view : view + 1]) < 0.03


def test_a_flat_picture_has_one_view() -> None:
    flat = Image.new("RGB", (300, 200), (40, 90, 60))
    stored = extract.picture_record(decode.from_image(flat), NAMES).descriptors["fingerprint"]
    there = fingerprints.present(np.frombuffer(stored, np.uint8)[None])
    assert there.tolist() == [[True, False, False, False]]
