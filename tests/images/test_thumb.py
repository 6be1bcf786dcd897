"""annidx.images.thumb: against a resampler written out in loops, and against stored values."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annidx.descriptors import THUMB
from annidx.images import decode
from annidx.images.thumb import SIDE, thumb
from annidx.search.vectors import distances
from tests.images.pictures import SHIPPED, noise

Lines = list[list[float]]


def literal_thumb(pixels: npt.NDArray[np.uint8], *, rows_first: bool) -> npt.NDArray[np.uint8]:
    """Return the thumb of an (h, w, 3) picture as the docstring has it, in plain loops."""
    result = np.zeros((SIDE, SIDE, 3), np.uint8)
    for channel in range(3):
        lines = [[float(value) for value in row] for row in pixels[:, :, channel]]
        if rows_first:
            lines = transposed(shrunk(transposed(shrunk(lines))))
        else:
            lines = shrunk(transposed(shrunk(transposed(lines))))
        result[:, :, channel] = np.array(lines)
    return result.reshape(-1)


def error(pixels: npt.NDArray[np.uint8]) -> int:
    """Return the largest difference of a byte to the literal thumb.

    Pillow rounds and clips after each of the two directions, and takes the cheaper one first;
    where hard edges overshoot black or white, the order shows.
    """
    found = thumb_of(pixels).astype(int)
    literal = (literal_thumb(pixels, rows_first=first).astype(int) for first in (True, False))
    return min(int(np.abs(found - each).max()) for each in literal)


def shrunk(lines: Lines) -> Lines:
    """Resize every line to 20 values by bicubic, whose kernel is stretched by the scale."""
    length = len(lines[0])
    scale = length / SIDE
    stretch = max(scale, 1.0)
    result: Lines = [[] for _ in lines]
    for at in range(SIDE):
        centre = (at + 0.5) * scale
        weights = {
            pixel: weight
            for pixel in range(length)
            if (weight := bicubic((pixel + 0.5 - centre) / stretch))
        }
        total = sum(weights.values())
        for line, out in zip(lines, result, strict=True):
            value = sum(line[pixel] * weight for pixel, weight in weights.items()) / total
            out.append(min(255.0, max(0.0, math.floor(value + 0.5))))  # whole after each direction
    return result


def bicubic(x: float, a: float = -0.5) -> float:
    """Return Keys' cubic convolution kernel."""
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    if x < 2:
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return 0.0


def transposed(lines: Lines) -> Lines:
    return [list(column) for column in zip(*lines, strict=True)]


def thumb_of(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return thumb(decode.from_array(pixels))


def formula(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return a picture that no decoder has a say in: waves of whole numbers, three channels."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    channels = [(x * x + 3 * y) % 256, (x * y // 3 + 7 * y) % 256, (5 * x + y * y // 2) % 256]
    return np.stack(channels, axis=-1).astype(np.uint8)


def sha256(values: npt.NDArray[np.uint8]) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (1, 1),
        (1, 2),
        (2, 3),
        (3, 50),
        (7, 7),
        (20, 20),
        (20, 21),
        (21, 20),
        (19, 40),
        (40, 60),
        (61, 47),
        (1, 300),
        (300, 1),
        (5, 400),
        (97, 131),
    ],
)
def test_it_is_bicubic_with_antialiasing(height: int, width: int) -> None:
    for pixels in (noise(height, width), formula(height, width)):
        assert error(pixels) <= 1  # Pillow's weights are multiples of 2**-22: halves may differ


@st.composite
def pictures(draw: st.DrawFn) -> npt.NDArray[np.uint8]:
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    size = height * width * 3
    values = draw(st.binary(min_size=size, max_size=size))
    return np.frombuffer(values, np.uint8).reshape(height, width, 3)


@settings(derandomize=True, database=None, deadline=None, max_examples=30)
@given(pictures())
def test_it_is_bicubic_with_antialiasing_whatever_the_pixels(pixels: npt.NDArray[np.uint8]) -> None:
    assert error(pixels) <= 2  # two halves, one in each direction


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (37, 53)])
def test_a_flat_picture_stays_flat(shape: tuple[int, int], value: int) -> None:
    assert (thumb_of(np.full((*shape, 3), value, np.uint8)) == value).all()


def test_the_bytes_are_in_row_order_red_green_blue() -> None:
    pixels = noise(20, 20)
    result = thumb_of(pixels)
    assert result.dtype == np.uint8
    assert result.shape == (THUMB.dimension,) == (1200,)
    assert result.flags.c_contiguous
    assert bytes(result[:6]) == bytes([*pixels[0, 0], *pixels[0, 1]])
    assert bytes(result[60:63]) == bytes(pixels[1, 0])
    assert bytes(result[-3:]) == bytes(pixels[19, 19])


def test_a_picture_of_20_by_20_pixels_is_its_own_thumb() -> None:
    pixels = noise(20, 20, seed=3)
    assert np.array_equal(thumb_of(pixels), pixels.reshape(-1))


def test_gray_has_three_equal_channels() -> None:
    gray = noise(45, 64)[:, :, 0]
    channels = thumb_of(gray).reshape(-1, 3)
    assert (channels == channels[:, :1]).all()
    assert np.array_equal(channels, thumb_of(np.dstack([gray] * 3)).reshape(-1, 3))


@pytest.mark.parametrize("shape", [(45, 64), (20, 20), (101, 33)])
def test_a_mirrored_picture_has_the_mirrored_thumb(shape: tuple[int, int]) -> None:
    pixels = noise(*shape)
    upright = thumb_of(pixels).reshape(SIDE, SIDE, 3).astype(int)
    for flip in (np.s_[:, ::-1], np.s_[::-1], np.s_[::-1, ::-1]):
        mirrored = thumb_of(np.ascontiguousarray(pixels[flip])).reshape(SIDE, SIDE, 3)
        assert np.abs(mirrored - upright[flip]).max() <= 1


# The stored values below stand for what is in every index: should one of them change, then the
# version of the descriptor in annidx/descriptors.py has to be raised.


@pytest.mark.parametrize(
    ("height", "width", "digest"),
    [
        (2, 3, "a8fbb546188ab658a7b746a117fbadff76d28753cb980c8cc7b949929ab94b5e"),
        (20, 20, "e58bedfc1d5b759ff45258f7f43e01936e5ed435d8076c51dcd22c2687be8b7a"),
        (211, 307, "01d4e9f8619c2d8fab84329322e52bab542ba0b780b09b56e9227b27622fc895"),
        (31, 1000, "2fabd4a099e6862f907c7dfe2130e482cd7b168e94b49cd33cbfd8a5a63bc5ee"),
    ],
)
def test_stored_values_of_a_formula(height: int, width: int, digest: str) -> None:
    assert sha256(thumb_of(formula(height, width))) == digest


def test_stored_values_of_a_shipped_picture() -> None:
    result = thumb(decode.decode((SHIPPED / "downloads" / "rocket-launch.png").read_bytes()))
    assert result[600:608].tobytes().hex() == "253b54293f582a49"
    assert sha256(result) == "39d6874983d59a2365c9a03576238d9ada91c67c3c298998efe8f059d8f8479a"


# The script that annidx replaces held thumbs as int8 and subtracted them as such.


def int8_distance(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    difference = one.view(np.int8) - other.view(np.int8)
    assert difference.dtype == np.int8
    return float(np.sqrt((difference.astype(np.int64) ** 2).sum()))


def our_distance(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    return float(distances(THUMB, one[None], other[None])[0])


def test_int8_distances_agree_while_no_byte_differs_by_more_than_127() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        one = rng.integers(0, 256, 1200)
        other = np.clip(one + rng.integers(-127, 128, 1200), 0, 255)
        pair = one.astype(np.uint8), other.astype(np.uint8)
        assert np.abs(one - other).max() <= 127
        assert int8_distance(*pair) == our_distance(*pair) == np.linalg.norm(one - other)


@pytest.mark.parametrize(("apart", "int8"), [(127, 127), (128, 128), (129, 127), (255, 1)])
def test_int8_distances_wrap_beyond(apart: int, int8: int) -> None:
    one, other = np.zeros(1200, np.uint8), np.zeros(1200, np.uint8)
    other[7] = apart
    assert our_distance(one, other) == our_distance(other, one) == apart
    assert int8_distance(one, other) == int8_distance(other, one) == int8


def test_int8_distances_of_unrelated_pictures_are_too_short() -> None:
    one, other = thumb_of(noise(20, 20, seed=1)), thumb_of(noise(20, 20, seed=2))
    assert int8_distance(one, other) < 0.9 * our_distance(one, other)
