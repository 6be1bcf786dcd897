"""annidx.service.page.look: what differs between two pictures, and previews that are kept."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from annidx.service.page import look
from annidx.service.page.look import Previews, difference
from tests.making import photo

SAME = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
MIRRORED = (1.0, 0.0, 0.0, 0.0, -1.0, 1.0)
LEFT_HALF = (1.0, 0.0, 0.0, 0.0, 2.0, 0.0)
"""Of points of a picture to points of its left half."""


def jpeg(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "JPEG", quality=95)
    return written.getvalue()


def drawn(one: Image.Image, other: Image.Image, places: tuple[float, ...]) -> npt.NDArray[np.int_]:
    """Return the difference of two pictures, (h, w, 3)."""
    with Image.open(io.BytesIO(difference(jpeg(one), jpeg(other), places))) as image:
        return np.asarray(image, np.int_)


def test_what_is_the_same_is_gray() -> None:
    picture = photo(0, (160, 120))
    assert abs(drawn(picture, picture, SAME) - 128).max() <= 3
    flipped = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert np.percentile(abs(drawn(picture, flipped, MIRRORED) - 128), 95) < 25
    assert np.percentile(abs(drawn(picture, flipped, SAME) - 128), 95) > 60


def test_what_was_laid_over_is_seen_and_what_was_cut_off_is_dark() -> None:
    picture = photo(1, (160, 120))
    marked = picture.copy()
    ImageDraw.Draw(marked).rectangle((40, 40, 60, 60), fill="white")
    seen = abs(drawn(picture, marked, SAME) - 128).max(axis=2)
    assert np.median(seen[44:56, 44:56]) > 60
    assert np.median(seen[80:, 100:]) < 10
    half = drawn(picture, picture.crop((0, 0, 80, 120)), LEFT_HALF)
    assert np.percentile(abs(half[:, :70] - 128), 95) < 25
    assert half[:, 90:].max() < 60


def test_a_map_is_turned_round() -> None:
    back = look._inverse((0.5, 0.1, 0.2, -0.1, 2.0, 0.3))
    twice = look._inverse(back)
    np.testing.assert_allclose(twice, (0.5, 0.1, 0.2, -0.1, 2.0, 0.3), atol=1e-9)
    assert look._inverse((0.0,) * 6) == SAME


def test_previews_are_kept_and_bounded() -> None:
    made: list[int] = []
    previews = Previews(most=250)

    def of(key: int) -> bytes:
        def make() -> bytes:
            made.append(key)
            return bytes(100)

        return previews.of(key, make)

    for key in (1, 2, 1, 3, 1, 2):
        assert len(of(key)) == 100
    assert made == [1, 2, 3, 2], "the one that was not looked at for longest goes first"
