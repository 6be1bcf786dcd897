"""Pictures that lie askew are brought to lie alike, and what has nothing in common is dropped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from annidx import fingerprints
from annidx.fingerprints import WHOLE, Floats
from annidx.search import alignment, refine

DETAILED, SMOOTH = ((6, 90), (16, 60), (40, 30)), ((5, 110), (10, 60))


def scene(seed: int, side: int = 192, layers: Sequence[tuple[int, int]] = DETAILED) -> Floats:
    """Return a picture with structure everywhere, (side, side) float32."""
    rng = np.random.default_rng(seed)
    result = np.zeros((side, side), np.float32)
    for cells, strength in layers:
        rough = rng.normal(size=(1, cells, cells)).astype(np.float32) * strength
        result += fingerprints.sample(rough, WHOLE[None], side)[0]
    return np.clip(result + 128, 0, 255)


def gray64(picture: Floats, region: Floats = WHOLE) -> Floats:
    """Return a region of a picture as its gray64, (1, 64, 64)."""
    return np.rint(fingerprints.read(picture[None], region[None], 64))


def askew(angle: float, zoom: float, y: float, x: float) -> Floats:
    """Return a region about the middle, turned and moved."""
    cos, sin = np.cos(np.radians(angle)) * zoom, np.sin(np.radians(angle)) * zoom
    result = np.array([[cos, -sin, y], [sin, cos, x]], np.float32)
    result[:, 2] += 0.5 - result[:, :2].sum(axis=1) / 2
    return result


def looked(one: Floats, other: Floats, guess: Floats = WHOLE) -> tuple[list[int], refine.Looks]:
    grays = np.concatenate([one, other]).reshape(2, -1).astype(np.uint8)
    contents = refine.Contents(grays, np.stack([WHOLE, WHOLE]))
    first, second = np.array([0]), np.array([1])
    which, looks = refine.look(contents, first, second, guess[None])
    return which.tolist(), looks


@pytest.mark.parametrize(
    ("angle", "zoom", "y", "x"),
    [(0, 1, 0, 0), (0, 1, 0.03, -0.02), (0, 0.92, 0.02, 0.01), (3, 0.95, 0, 0), (-4, 0.9, 0, 0)],
)
def test_the_map_is_found(angle: float, zoom: float, y: float, x: float) -> None:
    picture, region = scene(1), askew(angle, zoom, y, x)
    which, looks = looked(gray64(picture, region), gray64(picture))
    assert which == [0]
    corners = np.array([[0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1]])
    error = np.abs((looks.maps[0] - region) @ corners).max()
    assert error < 0.004  # a quarter of one of the 64 cells
    assert looks.scores[0] > 0.9


def test_a_crop_is_found_from_a_rough_guess() -> None:
    picture = scene(2, layers=SMOOTH)
    region = fingerprints.box_region(0.12, 0.72, 0.31, 0.91)
    guess = fingerprints.box_region(0.11, 0.77, 0.34, 1.0)
    _, looks = looked(gray64(picture, region), gray64(picture), guess)
    assert np.abs(looks.maps[0] - region).max() < 0.02


def test_tone_and_light_change_nothing() -> None:
    picture = scene(3)
    light = np.linspace(0.5, 1.0, 192, dtype=np.float32)
    darker = np.asarray(255 * (picture / 255) ** 1.7 * light, np.float32)
    which, looks = looked(gray64(darker), gray64(picture))
    assert which == [0]
    assert looks.scores[0] > 0.9
    assert np.abs(looks.maps[0] - WHOLE).max() < 0.005


def test_other_pictures_are_dropped_or_score_little() -> None:
    scores = []
    for seed in range(30):
        _, looks = looked(gray64(scene(100 + seed)), gray64(scene(200 + seed)))
        scores += looks.scores.tolist()
    assert max(scores, default=0) < 0.6


def test_what_was_laid_over_one_of_them_costs_little() -> None:
    picture = scene(4)
    covered = picture.copy()
    covered[150:180, 20:150] = 255
    _, looks = looked(gray64(covered), gray64(picture))
    assert looks.scores[0] > 0.85
    assert looks.scores[0] < looked(gray64(picture), gray64(picture))[1].scores[0]


def test_maps_are_composed_and_turned_round() -> None:
    one, other = askew(10, 0.8, 0.1, 0), askew(-25, 1.2, 0, 0.05)
    point = np.array([0.3, 0.8, 1])
    there = np.append(other @ point, 1)
    assert alignment.composed(one, other) @ point == pytest.approx(one @ there, abs=1e-5)
    back = alignment.composed(alignment.inverse(one[None]), one[None])[0]
    assert np.abs(back - WHOLE).max() < 1e-5


def test_blur_keeps_the_mean_of_plain_ground() -> None:
    plain = np.full((1, 32, 32), 77, np.float32)
    assert np.allclose(alignment.blurred(plain, 3.0), 77)


def test_nothing_to_look_at() -> None:
    contents = refine.Contents(np.zeros((1, 4096), np.uint8), WHOLE[None])
    none = np.zeros(0, np.intp)
    which, looks = refine.look(contents, none, none, np.zeros((0, 2, 3), np.float32))
    assert len(which) == len(looks.scores) == len(looks.maps) == 0
    flat, _ = refine.look(contents, none + 0, none + 0, np.zeros((0, 2, 3), np.float32))
    assert len(flat) == 0
