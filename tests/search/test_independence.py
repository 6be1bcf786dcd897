"""How much two aligned pictures have in common that is independent."""

from __future__ import annotations

import numpy as np
import pytest

from annidx.fingerprints import Floats
from annidx.search.independence import independent

SIDE = 48


def waves(cells: int, seed: int) -> Floats:
    """Return gradients of random levels, so many of them along each side, (1, 2, 48, 48)."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, cells - 1.001, SIDE)
    near, share = at.astype(int), at % 1
    levels = rng.normal(0, 40, (cells, cells, 2))
    down = levels[near] * (1 - share)[:, None, None] + levels[near + 1] * share[:, None, None]
    across = down[:, near] * (1 - share)[:, None] + down[:, near + 1] * share[:, None]
    return np.asarray(across.transpose(2, 0, 1)[None], np.float32)


def held(one: Floats, other: Floats, within: Floats | None = None, area: float = 1.0) -> float:
    within = np.ones((1, SIDE, SIDE), np.float32) if within is None else within
    return float(independent(one, other, within, np.array([area], np.float32))[0])


def test_what_changes_slowly_holds_little() -> None:
    counts = [held(waves(cells, 1), waves(cells, 2)) for cells in (3, 5, 9, 16)]
    assert (np.diff(counts) > 0).all()
    assert counts[0] < 10
    assert counts[-1] > 50


def test_it_is_about_as_much_as_there_was_put_in() -> None:
    for cells in (5, 8, 12):
        counts = [held(waves(cells, seed), waves(cells, seed + 100)) for seed in range(8)]
        assert 0.4 * cells**2 < np.mean(counts) < 1.6 * cells**2


def test_half_an_overlap_holds_half() -> None:
    one, other = waves(12, 1), waves(12, 2)
    left = np.zeros((1, SIDE, SIDE), np.float32)
    left[:, :, : SIDE // 2] = 1
    # The area is that of the overlap, as both have structure nowhere else.
    assert held(one, other, left, 0.5) == pytest.approx(held(one, other) / 2, rel=0.25)


def test_either_comes_first_and_flat_ones_hold_nothing_known() -> None:
    one, other = waves(9, 1), waves(4, 2)
    assert held(one, other) == pytest.approx(held(other, one), rel=1e-5)
    assert held(waves(4, 3), waves(4, 2)) < held(one, other) < held(one, waves(9, 4))
    flat = np.zeros((1, 2, SIDE, SIDE), np.float32)
    assert np.isfinite(held(flat, flat))
