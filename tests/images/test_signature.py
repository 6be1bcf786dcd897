"""annidx.images.signature: against its docstring written out in fractions, mirrored, packed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annidx.descriptors import SIGNATURE, SIGNATURE_CODES
from annidx.images import decode
from annidx.images.signature import pack, signature
from annidx.search.vectors import distances, values
from tests.images.pictures import SHIPPED, noise

Gray = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.int8]


def literal_signature(gray: Gray) -> list[int]:
    """Return the signature by steps 2 to 5 of the docstring, in loops and without rounding."""
    pixels = gray.tolist()
    height, width = len(pixels), len(pixels[0])
    side = max(2, math.floor(Fraction(1, 2) + Fraction(min(width, height), 20)))
    row_sums = [sum(abs(row[x + 1] - row[x]) for x in range(width - 1)) for row in pixels]
    column_sums = [
        sum(abs(pixels[y + 1][x] - pixels[y][x]) for y in range(height - 1)) for x in range(width)
    ]
    rows = [covered(point, side, height) for point in inner_points(row_sums, side)]
    columns = [covered(point, side, width) for point in inner_points(column_sums, side)]
    means = [[mean(pixels, row, column) for column in columns] for row in rows]
    pairs = [
        *(((y, x), (y, x + 1)) for y in range(9) for x in range(8)),
        *(((y, x), (y + 1, x)) for y in range(8) for x in range(9)),
        *(((y, x), (y + 1, x + 1)) for y in range(8) for x in range(8)),
        *(((y, x + 1), (y + 1, x)) for y in range(8) for x in range(8)),
    ]
    return [level(means[y][x] - means[j][i]) for (y, x), (j, i) in pairs]


def inner_points(sums: list[int], side: int) -> list[Fraction]:
    """Return the nine points between ten equal parts of the window."""
    low, high = edge(sums), len(sums) - edge(sums[::-1])
    if high - low < side:
        low, high = 0, len(sums)
    return [low + Fraction(high - low) * part / 10 for part in range(1, 10)]


def edge(sums: list[int]) -> int:
    """Count the lines up to the last whose accumulated sum is at most the 5th percentile."""
    accumulated = [sum(sums[: at + 1]) for at in range(len(sums))]
    place = Fraction(5 * (len(sums) - 1), 100)
    below = math.floor(place)
    above = min(below + 1, len(sums) - 1)
    between = (accumulated[above] - accumulated[below]) * (place - below)
    return sum(value <= accumulated[below] + between for value in accumulated)


def covered(point: Fraction, side: int, length: int) -> dict[int, Fraction]:
    """Return how much of each pixel lies within half a side of a point."""
    start = max(Fraction(0), point - Fraction(side, 2))
    stop = min(Fraction(length), point + Fraction(side, 2))
    shares = {at: min(stop, Fraction(at + 1)) - max(start, Fraction(at)) for at in range(length)}
    return {at: share for at, share in shares.items() if share > 0}


def mean(
    pixels: list[list[int]], row: dict[int, Fraction], column: dict[int, Fraction]
) -> Fraction:
    total = sum(
        (pixels[y][x] * down * across for y, down in row.items() for x, across in column.items()),
        Fraction(0),
    )
    return total / (sum(row.values()) * sum(column.values()))


def level(difference: Fraction) -> int:
    whole = round(difference)  # halves to even
    size = (abs(whole) > 2) + (abs(whole) > 50)
    return size if whole > 0 else -size


def formula(height: int, width: int) -> Gray:
    """Return a picture that no decoder has a say in: waves of whole numbers."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    return np.asarray((x * x // 7 + x * y // 11 + 5 * y) % 256, np.uint8)


def blocks(height: int, width: int, seed: int) -> Gray:
    """Return a picture of random rectangles, where differences of all sizes occur."""
    rng = np.random.default_rng(seed)
    gray = np.full((height, width), 128, np.uint8)
    for _ in range(30):
        y, x = rng.integers(0, height), rng.integers(0, width)
        gray[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] = (
            rng.integers(0, 256)
        )
    return gray


def packed(gray: Gray) -> Gray:
    return pack(signature(gray))


def sha256(stored: Gray) -> str:
    return hashlib.sha256(stored.tobytes()).hexdigest()


@st.composite
def grays(draw: st.DrawFn) -> Gray:
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    pixels = draw(st.binary(min_size=height * width, max_size=height * width))
    return np.frombuffer(pixels, np.uint8).reshape(height, width)


# Steps of the docstring


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 3),
        (3, 3),
        (1, 40),
        (60, 1),
        (9, 9),
        (20, 20),
        (21, 61),  # 5 % of 20 lines and of 60: a percentile that falls on a line
        (30, 30),
        (49, 50),  # on either side of a larger square
        (50, 50),
        (5, 400),
        (300, 7),
        (61, 37),
        (141, 93),
        (120, 170),
    ],
)
def test_it_is_what_its_docstring_says(height: int, width: int) -> None:
    for gray in (noise(height, width)[:, :, 0], formula(height, width), blocks(height, width, 4)):
        assert signature(gray).tolist() == literal_signature(gray)


@settings(derandomize=True, database=None, deadline=None, max_examples=30)
@given(grays())
def test_it_is_what_its_docstring_says_whatever_the_pixels(gray: Gray) -> None:
    assert signature(gray).tolist() == literal_signature(gray)


def test_a_real_picture_uses_all_levels(rocket: Gray) -> None:
    result = signature(rocket)
    assert result.tolist() == literal_signature(rocket)
    assert set(result.tolist()) == {-2, -1, 0, 1, 2}
    assert result.shape == (SIGNATURE.dimension,) == (272,)
    assert result.dtype == np.int8


@pytest.fixture(scope="module")
def rocket() -> Gray:
    data = (SHIPPED / "downloads" / "rocket-launch.png").read_bytes()
    gray = decode.decode(data).gray()
    gray.flags.writeable = False
    return gray


@pytest.mark.parametrize("value", [0, 77, 255])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (41, 30), (200, 300)])
def test_a_flat_picture_is_all_zero(shape: tuple[int, int], value: int) -> None:
    assert not signature(np.full(shape, value, np.uint8)).any()


@pytest.mark.parametrize(
    ("step", "expected"),
    # Grid points are 20 columns apart: with `step` gray levels every 20 columns the means differ
    # by exactly that.
    [(0, 0), (1, 0), (2, 0), (3, 1), (20, 1), (25, 1)],
)
def test_the_levels_of_a_ramp(step: int, expected: int) -> None:
    ramp = np.arange(200) * step / 20
    result = signature(np.tile(np.rint(ramp), (200, 1)).astype(np.uint8))
    right, lower, lower_right, lower_left = np.split(result, [72, 144, 208])
    assert (right == -expected).all()  # point - neighbour: the right one is brighter
    assert (lower == 0).all()
    assert (lower_right == -expected).all()
    assert (lower_left == expected).all()


@pytest.mark.parametrize(("difference", "expected"), [(2, 0), (3, 1), (50, 1), (51, 2)])
def test_the_steps_of_the_levels(difference: int, expected: int) -> None:
    gray = np.full((200, 200), 100, np.uint8)
    gray[:, 110:] = 100 + difference  # between the fifth and the sixth point of each row
    right = signature(gray)[:72].reshape(9, 8)
    assert (right[:, 4] == -expected).all()
    assert not np.delete(right, 4, axis=1).any()


def test_brightness_changes_nothing_while_nothing_clips() -> None:
    gray = blocks(150, 200, 8) // 2
    assert np.array_equal(signature(gray), signature(gray + np.uint8(100)))


# Flips and turns. The value at (y, x) of a neighbour's table is m[y, x] - m[neighbour]; with
# m'[y, x] = m[y, 8 - x], for example, right'[y, x] = m[y, 8 - x] - m[y, 7 - x] = -right[y, 7 - x].


def tables(levels: Levels) -> tuple[Levels, Levels, Levels, Levels]:
    """Return the tables of the right, lower, lower-right and lower-left neighbours."""
    right, lower, lower_right, lower_left = np.split(levels, [72, 144, 208])
    return (
        right.reshape(9, 8),
        lower.reshape(8, 9),
        lower_right.reshape(8, 8),
        lower_left.reshape(8, 8),
    )


def joined(*parts: Levels) -> Levels:
    return np.concatenate([part.ravel() for part in parts])


def left_to_right(levels: Levels) -> Levels:
    right, lower, lower_right, lower_left = tables(levels)
    return joined(-right[:, ::-1], lower[:, ::-1], lower_left[:, ::-1], lower_right[:, ::-1])


def top_to_bottom(levels: Levels) -> Levels:
    right, lower, lower_right, lower_left = tables(levels)
    return joined(right[::-1], -lower[::-1], -lower_left[::-1], -lower_right[::-1])


def turned_by_180(levels: Levels) -> Levels:
    return -np.concatenate([part[::-1] for part in np.split(levels, [72, 144, 208])])


def transposed(levels: Levels) -> Levels:
    right, lower, lower_right, lower_left = tables(levels)
    return joined(lower.T, right.T, lower_right.T, -lower_left.T)


CHANGES: list[tuple[Callable[[Gray], Gray], Callable[[Levels], Levels]]] = [
    (lambda gray: gray[:, ::-1], left_to_right),
    (lambda gray: gray[::-1], top_to_bottom),
    (lambda gray: gray[::-1, ::-1], turned_by_180),
    (lambda gray: gray.T, transposed),
]


@settings(derandomize=True, database=None, deadline=None, max_examples=30)
@given(grays())
def test_a_mirrored_picture_has_the_permuted_signature(gray: Gray) -> None:
    for change, permute in CHANGES:
        assert np.array_equal(signature(change(gray)), permute(signature(gray)))


@pytest.mark.parametrize("seed", range(8))
def test_a_larger_mirrored_picture_has_the_permuted_signature(seed: int) -> None:
    gray = blocks(256, 256 + 31 * seed, seed)
    for change, permute in CHANGES:
        assert np.array_equal(signature(change(gray)), permute(signature(gray)))


def test_a_real_mirrored_picture_has_the_permuted_signature(rocket: Gray) -> None:
    for change, permute in CHANGES:
        assert np.array_equal(signature(change(rocket)), permute(signature(rocket)))
        assert not np.array_equal(signature(change(rocket)), signature(rocket))


# Packed


def random_levels(count: int, seed: int = 6) -> Levels:
    return np.random.default_rng(seed).integers(-2, 3, (count, 272)).astype(np.int8)


def test_packed_levels_come_back() -> None:
    levels = random_levels(50)
    stored = pack(levels)
    assert stored.shape == (50, SIGNATURE.width) == (50, 136)
    assert stored.dtype == np.uint8
    assert np.array_equal(values(SIGNATURE, stored), levels)
    assert np.array_equal(pack(levels[0]), stored[0])


def test_the_first_of_two_levels_is_in_the_high_half() -> None:
    levels = np.zeros(272, np.int8)
    levels[:5] = [-2, -1, 1, 2, -2]
    assert pack(levels)[:4].tolist() == [0b1100_0100, 0b0010_0011, 0b1100_0000, 0]


def test_bits_of_two_codes_differ_as_their_levels_do() -> None:
    for one, code in SIGNATURE_CODES.items():
        for other, other_code in SIGNATURE_CODES.items():
            assert (code ^ other_code).bit_count() == abs(one - other)


def test_bits_that_differ_filter_without_loss() -> None:
    one, other = random_levels(40, seed=1), random_levels(40, seed=2)
    bits = np.bitwise_count(pack(one) ^ pack(other)).sum(axis=1, dtype=np.int64)
    difference = one.astype(np.int64) - other
    assert np.array_equal(bits, np.abs(difference).sum(axis=1))
    assert (bits <= (difference**2).sum(axis=1)).all()


def test_the_distance_is_that_of_the_levels() -> None:
    one, other = random_levels(20, seed=1), random_levels(20, seed=2)
    other[0] = one[0]
    one[1] = other[1] = 0
    x, y = one.astype(float), other.astype(float)
    norms = np.linalg.norm(x, axis=1) + np.linalg.norm(y, axis=1)
    expected = np.linalg.norm(x - y, axis=1) / np.where(norms == 0, 1, norms)
    np.testing.assert_allclose(distances(SIGNATURE, pack(one), pack(other)), expected, rtol=1e-12)


# The stored values below stand for what is in every index: should one of them change, then the
# version of the descriptor in annidx/descriptors.py has to be raised.


@pytest.mark.parametrize(
    ("height", "width", "digest"),
    [
        (2, 3, "b707241545a346265aab1ffb32ff64b55bf8f8dc1b56a46ef33ce3d15db11d33"),
        (20, 20, "21a983f342d70ecc28a0c1c1afb735c152cbc79bda5073cd5d8df567b0073da7"),
        (256, 341, "59e0d8906d00e9ff21b6000b0bb4bca1dfe190e30bc20138ac3ff71f859190ad"),
        (700, 256, "4d06c4be96e21139cce162abe5dc5374b5cc7297a959833d4e8dba1e714eee53"),
    ],
)
def test_stored_values_of_a_formula(height: int, width: int, digest: str) -> None:
    assert sha256(packed(formula(height, width))) == digest


def test_stored_values_of_a_shipped_picture(rocket: Gray) -> None:
    stored = packed(rocket)
    assert stored[60:72].tobytes().hex() == "444444444444400242244422"
    assert sha256(stored) == "49a0fea1b3a2e451c6ce2d6e650d8bcde755fdce6df11eb210334694e3f31604"
