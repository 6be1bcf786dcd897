"""What a picture is, for the chance of its matches: how much there is in it that could agree.

By what is stored of a picture alone. Knows no scores.
"""

from __future__ import annotations

import zlib
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from annidx.fingerprints import GRAY_SIDE

Classes = npt.NDArray[np.int8]
Rows = npt.NDArray[np.intp]
Stored = npt.NDArray[np.uint8]

CLASSES = ("detailed", "simple", "writing", "plain")
"""What :func:`classes` tells apart, by number."""
PAIRS = tuple(combinations_with_replacement(range(len(CLASSES)), 2))
"""Pairs of classes, the smaller number first; a model has a tail for each."""


def classes(grays: Stored) -> Classes:
    """Tell classes of pictures apart by what is stored of them; colour tells them apart no better.

    Parameters
    ----------
    grays : (n, 4096) uint8

    Returns
    -------
    (n,) int8
        Numbers of :data:`CLASSES`. Information is bytes that the gray deflates to, at 32 levels.
        'detailed': of 1,100 and more, as most photos. 'simple': of less: drawings, icons, few
        things on even ground. 'writing': 35 % of the picture lie within 8 levels of one gray, and
        the rest is fine and faint. 'plain': of less than 450, or less than a quarter of 8 x 8
        blocks deviates by over 6 levels: unrelated ones may look the same; a square is a square.
    """
    found = np.zeros(len(grays), np.int8)
    for start in range(0, len(grays), 256):
        part = slice(start, start + 256)
        found[part] = _classes(grays[part])
    return found


def _classes(grays: Stored) -> Classes:
    count = len(grays)
    planes = grays.reshape(count, GRAY_SIDE, GRAY_SIDE).astype(np.float32)
    blocks = planes.reshape(count, 8, 8, 8, 8).std(axis=(2, 4))
    within = np.cumsum(_histograms(grays), axis=1)
    ground = (within[:, 17:] - within[:, :-17]).max(axis=1) / GRAY_SIDE**2
    down, right = np.diff(planes, axis=1), np.diff(planes, axis=2)
    bent = np.abs(np.diff(down[:, :, 1:-1], axis=1) + np.diff(right[:, 1:-1], axis=2))
    steps = np.abs(down).mean(axis=(1, 2)) + np.abs(right).mean(axis=(1, 2)) + 1.0
    fine = bent.mean(axis=(1, 2)) / steps
    sizes = np.array([len(zlib.compress((gray >> 3).tobytes())) for gray in grays])
    result = np.where(sizes >= 1100, 0, 1)
    result[(ground >= 0.35) & (fine >= 1.25) & (planes.std(axis=(1, 2)) < 45)] = 2
    result[((blocks > 6).mean(axis=(1, 2)) < 0.25) | (sizes < 450)] = 3
    return result.astype(np.int8)


def _histograms(grays: Stored) -> npt.NDArray[np.float64]:
    """Return how often each level occurs, (n, 273), with 9 and 8 zeros before and after."""
    count = len(grays)
    at = np.arange(count)[:, None] * 273 + grays + 9
    return np.bincount(at.ravel(), minlength=count * 273).reshape(count, 273).astype(np.float64)


def pairs_of(classes_a: Classes, classes_b: Classes) -> Rows:
    """Return which of :data:`PAIRS` pairs are of, (m,) intp."""
    low, high = np.minimum(classes_a, classes_b), np.maximum(classes_a, classes_b)
    table = np.zeros((len(CLASSES), len(CLASSES)), np.intp)
    for number, (a, b) in enumerate(PAIRS):
        table[a, b] = number
    return np.asarray(table[low, high])
