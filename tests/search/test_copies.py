"""Rows that are the same picture: one stands for all, all come along."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from annidx.search import copies as module
from annidx.search.copies import Copies

KEYS = np.array([7, 3, 7, 0, 9, 3, 7, 0, 3])
LIVE = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0], np.bool_)


def test_the_first_stands_for_all() -> None:
    found = Copies(KEYS, LIVE)
    assert found.stands.tolist() == [0, 1, 0, 3, 4, 1, 0, 7, 8]
    assert np.flatnonzero(found.first).tolist() == [0, 1, 3, 4, 7]


def test_all_come_along() -> None:
    at, rows = Copies(KEYS, LIVE).spread(np.array([1, 0, 4, 3, 1]))
    assert list(zip(at, rows, strict=True)) == [
        *((0, 1), (0, 5), (1, 0), (1, 2), (1, 6), (2, 4), (3, 3), (4, 1), (4, 5))
    ]


@pytest.mark.parametrize("together", [1, 1 << 18])
def test_pairs(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOGETHER", together)
    keys = np.repeat([4, 5, 6], [1, 40, 3])
    parts = list(Copies(keys, np.ones(44, np.bool_)).pairs())
    assert (len(parts) > 1) == (together == 1)
    found = [pair for part in parts for pair in zip(*(each.tolist() for each in part), strict=True)]
    assert sorted(found) == [*combinations(range(1, 41), 2), *combinations(range(41, 44), 2)]


def test_which_row_holds_a_key() -> None:
    found = Copies(KEYS, LIVE)
    assert found.holding(np.array([3, 7, 0, 8, 99, -5])).tolist() == [1, 0, -1, -1, -1, -1]
    assert Copies(KEYS, np.zeros(9, np.bool_)).holding(np.array([3])).tolist() == [-1]


def test_fewer_rows() -> None:
    among = LIVE.copy()
    among[0] = False
    assert Copies(KEYS, LIVE).only(among).holding(np.array([7])).tolist() == [2]
