"""annidx.search.differences: what is measured of two pictures, from made grays and thumbs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from annidx import fingerprints
from annidx.fingerprints import Floats, Stored
from annidx.search import alignment, differences, overlaying

SIDE = 64


def gray(seed: int, side: int = SIDE) -> Floats:
    """Return a picture with detail at all scales, (side, side)."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, side)
    plane = np.full((side, side), 125.0)
    for _ in range(60):
        down, right = rng.normal(0, 9, 2)
        wave = np.cos(2 * np.pi * (down * at[:, None] + right * at) + rng.uniform(0, 7))
        plane += rng.normal(0, 40 / (1 + np.hypot(down, right) / 3)) * wave
    return np.asarray(np.clip(plane, 10, 240), np.float32)


def measured(
    first: Floats, second: Floats, guess: Floats = fingerprints.WHOLE
) -> differences.Differences:
    grays = np.rint(np.stack([first, second])).reshape(2, -1).astype(np.uint8)
    thumbs = np.stack([thumb(first), thumb(second)])
    whole = np.stack([fingerprints.WHOLE] * 2)
    one, other = np.array([0]), np.array([1])
    pictures = overlaying.Pictures(grays, thumbs)
    return differences.differences(pictures, one, other, guess[None].astype(np.float32), whole)


def thumb(plane: Floats) -> Stored:
    small = fingerprints.read(plane[None], fingerprints.WHOLE[None], fingerprints.THUMB_SIDE)[0]
    return np.repeat(np.rint(small)[..., None], 3, axis=2).astype(np.uint8).ravel()


def test_a_change_of_tone_is_measured_and_leaves_nothing() -> None:
    found = measured(gray(1), 0.7 * gray(1) + 5)
    assert found.tone.brightness[0] == pytest.approx(0.7 + 5 / gray(1).mean(), abs=0.01)
    assert found.tone.brightness[0] * found.tone.contrast[0] == pytest.approx(0.7, abs=0.02)
    assert found.odd[0] < 0.002
    assert found.texture.agreement[0] > 0.97
    assert np.array_equal(found.maps[0], fingerprints.WHOLE)


def test_what_was_laid_over_is_found_where_it_lies() -> None:
    second = gray(2)
    second[40:52, 8:24] = 250
    found = measured(gray(2), second)
    assert found.boxes[0] == pytest.approx([40 / 64, 52 / 64, 8 / 64, 24 / 64], abs=0.05)
    assert 0.02 < found.odd[0] < 0.06
    assert found.scattered[0] < 0.005


def test_a_shift_of_two_percent_is_not_taken_for_none() -> None:
    large = gray(3, 80)
    found = measured(large[8:72, 8:72], large[8:72, 9:73])
    assert found.maps[0, 1, 2] == pytest.approx(-1 / 64, abs=0.003)


@pytest.mark.parametrize("turn", range(fingerprints.TURNS))
def test_turns_are_exact(turn: int) -> None:
    rows = fingerprints.turn_map(turn)
    there = alignment.inverse(rows[None])
    second = fingerprints.sample(gray(4)[None], rows[None], SIDE)[0]
    rng = np.random.default_rng(turn)
    guess = there[0] + rng.normal(0, 0.006, (2, 3))
    found = measured(gray(4), second, guess)
    assert found.maps[0] == pytest.approx(there[0], abs=1e-5)
    assert found.texture.agreement[0] > 0.97


def test_other_pictures_do_not_agree() -> None:
    found = measured(gray(5), gray(6))
    assert found.texture.agreement[0] < 0.3
    assert found.texture.torn[0] > 0.5


def test_a_thing_recoloured_on_white_is_told_from_its_ground() -> None:
    first = np.full((SIDE, SIDE), 250.0, np.float32)
    first[16:48, 16:48] = 0.5 * gray(7)[16:48, 16:48] + 20
    second = first.copy()
    second[16:48, 16:48] += 60
    found = measured(first, second)
    assert found.colour.ground[0] > 0.6
    assert found.colour.ground_change[0] < 2
    assert found.colour.object_change[0] > 40


def test_batches_agree_with_pairs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = [gray(seed) for seed in range(4)]
    grays = np.rint(np.stack(planes)).reshape(4, -1).astype(np.uint8)
    pictures = overlaying.Pictures(grays, np.stack([thumb(each) for each in planes]))
    ones: npt.NDArray[np.intp] = np.array([0, 0, 1, 2, 3])
    others: npt.NDArray[np.intp] = np.array([0, 1, 1, 3, 3])
    whole = np.stack([fingerprints.WHOLE] * 5)
    together = list(
        differences.rows(differences.differences(pictures, ones, others, whole, whole[:4]))
    )
    monkeypatch.setattr(differences, "TOGETHER", 2)
    apart = list(
        differences.rows(differences.differences(pictures, ones, others, whole, whole[:4]))
    )
    for one, other in zip(together, apart, strict=True):
        assert one.map == pytest.approx(other.map, abs=1e-4)
        assert one.texture == pytest.approx(other.texture, abs=1e-3)


def test_what_was_laid_over_leaves_the_core_as_it_is() -> None:
    second = gray(8)
    second[36:56, 4:40] = gray(9)[36:56, 4:40]
    found = measured(gray(8), second)
    assert found.texture.core[0] > 0.99
    assert found.texture.torn[0] > 0.1


def test_writing_comes_in_lines_and_a_thing_does_not() -> None:
    page = np.full((SIDE, SIDE), 250.0, np.float32)
    for row in range(8, 56, 8):
        page[row : row + 3, 8:50] = gray(row)[row : row + 3, 8:50] / 2
    thing = np.full((SIDE, SIDE), 250.0, np.float32)
    thing[12:52, 16:48] = gray(7)[12:52, 16:48] / 2
    assert overlaying.lines(np.stack([page, page.T, thing])).tolist() == [6, 6, 1]


def test_a_place_of_another_colour_is_far_off() -> None:
    grays = np.rint(np.stack([gray(3), gray(3)])).reshape(2, -1).astype(np.uint8)
    one = np.full((fingerprints.THUMB_SIDE, fingerprints.THUMB_SIDE, 3), (180, 90, 60), np.uint8)
    one[::2] //= 2
    other = one.copy()
    other[4:8, 4:8] = other[4:8, 4:8, ::-1]
    whole = np.stack([fingerprints.WHOLE] * 2)
    found = [
        differences.differences(
            overlaying.Pictures(grays, np.stack([one.ravel(), second.ravel()])),
            *(np.array([0]), np.array([1]), whole[:1], whole),
        )
        for second in (one // 2, other)
    ]
    assert found[0].colour.far[0] < 1
    assert found[1].colour.far[0] > 2
