"""Pictures for the page: previews that are kept for a while, and what differs between two."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx.found import Pair
from annidx.images import decode, pixels
from annidx.index import Index

SIDES = (256, 512, 1536)
MOST_BYTES = 96_000_000
"""Of previews that are kept; 512 px take some 50 kB."""
AMPLIFIED = 4
"""Differences are shown so much larger."""

Rgb = npt.NDArray[np.uint8]
_ONE_TO_ONE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class Previews:
    """JPEG files that were made, the last ones.

    Parameters
    ----------
    most : int
        Bytes.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._held = most, 0
        self._lock = threading.Lock()
        self._made: OrderedDict[object, bytes] = OrderedDict()

    def of(self, key: object, make: Callable[[], bytes]) -> bytes:
        """Return what is kept, or make it and keep it."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make()
        with self._lock:
            self._held += len(made) - len(self._made.pop(key, b""))
            self._made[key] = made
            while self._held > self._most:
                self._held -= len(self._made.popitem(last=False)[1])
        return made


@dataclass(frozen=True, slots=True)
class Seen:
    """What two pictures are to each other.

    Attributes
    ----------
    kind, words : str
    first_is_base : bool
        The words say what the second is to the first; False: the other way round.
    nearness : str
        Chance or distance, in words; empty for copies.
    map : tuple of six float
        Points of the first (y, x in 0..1) to points of the second.
    """

    kind: str
    words: str
    first_is_base: bool
    nearness: str
    map: tuple[float, ...]


def seen(index: Index, one: bytes, other: bytes) -> Seen | None:
    """Return what two files of an index are to each other; None when they do not match."""
    options: dict[str, Any] = {"match": "loose"}
    found = index.find_pairs(between=(one, other), companions=True, decided=True, **options)
    for pair in found:
        if {pair.raw_a, pair.raw_b} == {one, other}:
            return _of_pair(pair, pair.raw_a == one)
    return None


def _of_pair(pair: Pair, as_asked: bool) -> Seen:
    said = pair.explanation
    places: tuple[float, ...] = _ONE_TO_ONE
    if said is not None and said.map is not None:
        places = tuple(map(float, said.map))
    near = f"{pair.metric} {pair.distance:.3g}"
    if pair.chance is not None:
        near = f"chance {pair.chance:.0e}"
    words = "" if said is None else said.words
    return Seen(pair.kind, words, as_asked, near, places if as_asked else _inverse(places))


def _inverse(places: tuple[float, ...]) -> tuple[float, ...]:
    square = np.vstack([np.reshape(places, (2, 3)), [0, 0, 1]])
    if abs(np.linalg.det(square)) < 1e-9:
        return _ONE_TO_ONE
    return tuple(np.linalg.inv(square)[:2].reshape(-1).tolist())


def difference(one: bytes, other: bytes, places: tuple[float, ...]) -> bytes:
    """Return where two pictures differ, as a JPEG: gray where they do not.

    Parameters
    ----------
    one, other : bytes
        JPEG files.
    places : tuple of six float
        Points of the first (y, x in 0..1) to points of the second.
    """
    first, second = (_pixels(each) for each in (one, other))
    laid, covered = _laid_on(first.shape[:2], second, places)
    apart = first.astype(np.float32) - laid
    shown = np.where(covered[..., None], 128 + AMPLIFIED * apart, 40.0)
    return pixels.jpeg(np.clip(np.rint(shown), 0, 255).astype(np.uint8))


def _pixels(jpeg: bytes) -> Rgb:
    picture = decode.decode(jpeg)
    width, height = (round(each) for each in (picture.box[2:]))
    return picture.rgb(width, height)


def _laid_on(
    shape: tuple[int, int], second: Rgb, places: tuple[float, ...]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the second picture as it lies on the first, (h, w, 3), and where it does."""
    height, width = shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    ys, xs = (ys + 0.5) / height, (xs + 0.5) / width
    a, b, e, c, d, f = places
    v, u = a * ys + b * xs + e, c * ys + d * xs + f
    covered = (v >= 0) & (v <= 1) & (u >= 0) & (u <= 1)
    v = np.clip(v * second.shape[0] - 0.5, 0, second.shape[0] - 1)
    u = np.clip(u * second.shape[1] - 0.5, 0, second.shape[1] - 1)
    top, left = np.floor(v).astype(np.intp), np.floor(u).astype(np.intp)
    below = np.minimum(top + 1, second.shape[0] - 1)
    right = np.minimum(left + 1, second.shape[1] - 1)
    dv, du = (v - top)[..., None], (u - left)[..., None]
    upper = second[top, left] * (1 - du) + second[top, right] * du
    lower = second[below, left] * (1 - du) + second[below, right] * du
    return (upper * (1 - dv) + lower * dv).astype(np.float32), covered
