"""Pictures are found within frames, bars, windows and tilted on plain ground."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps

from annidx.images import frames
from annidx.images.frames import Region


def photo(width: int = 480, height: int = 360) -> Image.Image:
    """Return a picture without a quiet line."""
    pixels = np.random.default_rng(3).integers(0, 256, (18, 24, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def regions(image: Image.Image) -> list[Region]:
    """Return the regions of a picture as a build sees it."""
    small = image.convert("L")
    small.thumbnail((160, 160), Image.Resampling.BOX)
    return frames.regions(np.asarray(small))


def box(found: Region) -> tuple[float, float, float, float]:
    """Return top, bottom, left, right of an upright region."""
    assert found[0, 1] == found[1, 0] == 0
    top, left = found[:, 2]
    return float(top), float(top + found[0, 0]), float(left), float(left + found[1, 1])


def near(found: Region, expected: tuple[float, float, float, float], most: float = 0.02) -> bool:
    return bool(np.abs(np.subtract(box(found), expected)).max() <= most)


def bar(image: Image.Image) -> Image.Image:
    """Put a bar with writing above a picture."""
    high = image.height // 5
    result = Image.new("RGB", (image.width, image.height + high), "white")
    result.paste(image, (0, high))
    font = ImageFont.load_default(high // 2)
    ImageDraw.Draw(result).text((8, high // 4), "as we said before", "black", font=font)
    return result


def window(image: Image.Image) -> Image.Image:
    """Show a picture in a window with a title bar, right and left of it plain ground."""
    width, height = image.width * 5 // 4, image.height * 3 // 2
    result = Image.new("RGB", (width, height), (246, 246, 248))
    draw = ImageDraw.Draw(result)
    draw.rectangle((0, 0, width, height // 11), fill=(40, 44, 52))
    draw.text((10, height // 50), "12:41  Pictures", "white", font=ImageFont.load_default(14))
    result.paste(image, (image.width // 8, height // 6))
    return result


def test_nothing_is_taken_off_a_photo() -> None:
    assert regions(photo()) == []


@pytest.mark.parametrize("colour", ["white", "black", (90, 30, 10)])
def test_a_border(colour: str) -> None:
    framed = ImageOps.expand(photo(480, 360), (48, 36), colour)
    first, *rest = regions(framed)
    assert near(first, (1 / 12, 11 / 12, 1 / 12, 11 / 12))
    assert rest == []


def test_a_letterbox() -> None:
    framed = Image.new("RGB", (480, 480))
    framed.paste(photo(480, 360), (0, 60))
    (only,) = regions(framed)
    assert near(only, (0.125, 0.875, 0.0, 1.0))


def test_a_bar_with_a_caption() -> None:
    found = regions(bar(photo()))
    assert near(found[-1], (1 / 6, 1.0, 0.0, 1.0))


def test_a_window() -> None:
    found = regions(window(photo()))
    assert near(found[-1], (1 / 6, 1 / 6 + 2 / 3, 0.1, 0.9))


@pytest.mark.parametrize("angle", [-7, 3, 5, 20])
@pytest.mark.parametrize("ground", ["black", "white"])
def test_a_tilted_picture(angle: int, ground: str) -> None:
    tilted = photo().rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=ground)
    found = regions(tilted)[-1]
    width, height = tilted.size
    down = found[:, 0] * (height, width)  # the picture's own left edge, in pixels
    assert np.degrees(np.arctan2(down[1], down[0])) == pytest.approx(angle, abs=0.7)
    assert np.hypot(*down) == pytest.approx(360, rel=0.04)
    middle = found @ (0.5, 0.5, 1)
    assert middle == pytest.approx([0.5, 0.5], abs=0.02)


def test_a_thing_on_plain_ground_is_not_tilted() -> None:
    image = Image.new("RGB", (320, 240), "white")
    ImageDraw.Draw(image).ellipse((40, 30, 280, 210), fill=(120, 40, 20))
    (only,) = regions(image)
    assert near(only, (0.125, 0.875, 0.125, 0.875), 0.03)


@pytest.mark.parametrize("shape", [(1, 1), (3, 160), (160, 15), (16, 16)])
def test_tiny_and_flat_pictures(shape: tuple[int, int]) -> None:
    assert frames.regions(np.full(shape, 9, np.uint8)) == []
    noise = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    assert frames.regions(noise) == []


def test_at_most_two_and_none_the_whole() -> None:
    for image in (photo(), window(photo()), ImageOps.expand(window(photo()), 30, "red")):
        found = regions(image)
        assert len(found) <= 2
        for each in found:
            assert np.abs(each - [[1, 0, 0], [0, 1, 0]]).max() > 0.01
