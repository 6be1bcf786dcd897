"""What is tried to find a picture again: its views, flips and turns, crops of it, frames around it.

Stored are vectors of whole pictures (and of what lies inside of their frames) only. A crop is found
from the other side: the vectors of crops of the picture that it may have been cut from are near the
vector of the crop. And a picture that is a crop itself is tried as a part of a larger one, of which
the rest is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt

from annidx import fingerprints
from annidx.asking import Views
from annidx.fingerprints import Floats, Stored
from annidx.search import alignment

Rows = npt.NDArray[np.intp]

CROPS = ((0.85, 3), (0.66, 4))
"""Crops of so much of each side, at so many places along each: 25 of them. Measured on held-out
crops of 10 and 20 % a side: the picture is the nearest of 1,400 for .99 and .87 of them."""


@dataclass(frozen=True, slots=True)
class Variants:
    """Vectors that are tried for some pictures, and how each was made.

    Attributes
    ----------
    codes : (m, 64) uint8
        As stored ones.
    owners : (m,) intp
        Which picture each is of.
    views : (m,) intp
        Which stored view of the picture (0 is the whole) it was made of.
    maps : (m, 2, 3) float32
        Where points of a picture that matches (y, x in 0..1 of its own view) lie in that view.
    """

    codes: Stored
    owners: Rows
    views: Rows
    maps: Floats

    def __len__(self) -> int:
        return len(self.codes)


def boxes() -> list[tuple[float, float, float, float]]:
    """Return the crops that are tried, as y0, y1, x0, x1 in 0..1."""
    return [
        (y, y + size, x, x + size)
        for size, count in CROPS
        for y, x in product(np.linspace(0, 1 - size, count).tolist(), repeat=2)
    ]


def variants(
    stored: Stored, grays: Stored, thumbs: Stored, *, views: Views, parts: bool
) -> Variants:
    """Return all that is tried for some pictures.

    Parameters
    ----------
    stored : (n, 256) uint8
        Their fingerprints.
    grays : (n, 4096) uint8
    thumbs : (n, 1200) uint8
    views : {'fast', 'default', 'thorough'}
        'fast': the stored views, upright. 'default': those in all eight turns, and crops upright.
        'thorough': all of it in all eight turns.
    parts : bool
        Also as parts of larger pictures. Not needed where each of two pictures is asked.
    """
    made = [_views(stored, range(1 if views == "fast" else fingerprints.TURNS))]
    if views != "fast":
        turns = range(fingerprints.TURNS if views == "thorough" else 1)
        made.append(_cropped(grays, thumbs, turns))
        if parts:
            made.append(_placed(grays, thumbs, turns))
    return Variants(
        np.concatenate([each.codes for each in made]),
        np.concatenate([each.owners for each in made]),
        np.concatenate([each.views for each in made]),
        np.concatenate([each.maps for each in made]),
    )


def _views(stored: Stored, turns: Sequence[int]) -> Variants:
    owners, views = np.nonzero(fingerprints.present(stored))
    codes = stored.reshape(-1, fingerprints.SLOTS, fingerprints.DIMENSION)[owners, views]
    return _turned(fingerprints.decoded(codes), owners, views, fingerprints.WHOLE, turns)


def _cropped(grays: Stored, thumbs: Stored, turns: Sequence[int]) -> Variants:
    """Crop each picture in each way."""
    gray, chroma = _planes(grays), fingerprints.chromas(thumbs)
    vectors = _described(gray, chroma, _cuts)
    return _of_boxes(vectors, _regions(), len(grays), turns)


def _placed(grays: Stored, thumbs: Stored, turns: Sequence[int]) -> Variants:
    """Take each picture for a part of a larger one that is its own mean elsewhere."""
    gray, chroma = _planes(grays), fingerprints.chromas(thumbs)
    gray = gray - gray.mean(axis=(1, 2), keepdims=True)
    mean = chroma.mean(axis=(2, 3), keepdims=True)
    vectors = _described(gray, chroma - mean, _placements, mean[:, None])
    return _of_boxes(vectors, alignment.inverse(_regions()), len(grays), turns)


@cache
def _regions() -> Floats:
    return np.stack([fingerprints.box_region(*box) for box in boxes()])


def _of_boxes(vectors: Floats, regions: Floats, count: int, turns: Sequence[int]) -> Variants:
    owners = np.repeat(np.arange(count), len(regions))
    every = np.tile(regions, (count, 1, 1))
    return _turned(vectors, owners, np.zeros_like(owners), every, turns)


_Weights = Callable[[int, int], Floats]


def _described(
    gray: Floats, chroma: Floats, weights: _Weights, ground: Floats | float = 0.0
) -> Floats:
    """Return the vectors of pictures read with weights for each box, (n * boxes, 64) float32."""
    side, half = fingerprints.SIDE, fingerprints.CHROMA_SIDE
    grays = _read(gray, weights(side, fingerprints.GRAY_SIDE))
    flat = chroma.reshape(-1, fingerprints.THUMB_SIDE, fingerprints.THUMB_SIDE)
    colours = _read(flat, weights(half, fingerprints.THUMB_SIDE))
    count = grays.shape[1]
    colours = colours.reshape(-1, 2, count, half, half).transpose(0, 2, 1, 3, 4) + ground
    return fingerprints.project(
        fingerprints.features(grays.reshape(-1, side, side), colours.reshape(-1, 2, half, half))
    )


def _read(planes: Floats, weights: Floats) -> Floats:
    """Read all boxes out of planes (m, n, n): (m, boxes, cells, cells)."""
    down, right = _pairs()
    rows = weights @ planes[:, None]  # each span once; a box is two of them
    return np.asarray(rows[:, down] @ weights[right].transpose(0, 2, 1), np.float32)


def _spans() -> list[tuple[float, float]]:
    """Return the ends of all that boxes cover along one axis, each once."""
    return sorted({(low, high) for low, high, _, _ in boxes()})


@cache
def _pairs() -> tuple[Rows, Rows]:
    """Return which span each box has down and which right, (boxes,) each."""
    at = {span: number for number, span in enumerate(_spans())}
    every = [(at[y0, y1], at[x0, x1]) for y0, y1, x0, x1 in boxes()]
    down, right = np.array(every, np.intp).T
    return down, right


@cache
def _cuts(cells: int, of: int) -> Floats:
    """Return weights that average `of` pixels of each span into `cells`, (spans, cells, of)."""
    low, high = np.array(_spans(), np.float32).T
    return fingerprints.shares(low, high, cells, of)


@cache
def _placements(cells: int, of: int) -> Floats:
    """Return weights that put `of` pixels into each span of `cells`, zeros elsewhere."""
    pixel, step = np.arange(of) / of, np.arange(cells)[:, None] / cells
    found = []
    for low, high in _spans():
        begin, end = low + (high - low) * pixel, low + (high - low) * (pixel + 1 / of)
        share = np.minimum(end, step + 1 / cells) - np.maximum(begin, step)
        found.append((np.maximum(share, 0) * cells).astype(np.float32))
    return np.stack(found)


def _planes(grays: Stored) -> Floats:
    side = fingerprints.GRAY_SIDE
    return grays.reshape(-1, side, side).astype(np.float32)


def _turned(
    vectors: Floats, owners: Rows, views: Rows, regions: Floats, turns: Sequence[int]
) -> Variants:
    """Turn variants in each way: the vector of a turned region is that of the region, turned."""
    regions = np.broadcast_to(regions, (len(vectors), 2, 3))
    turned = [np.broadcast_to(fingerprints.turn_map(turn), regions.shape) for turn in turns]
    return Variants(
        np.concatenate([fingerprints.codes(fingerprints.turned(vectors, t)) for t in turns]),
        np.tile(owners, len(turns)),
        np.tile(views, len(turns)),
        np.concatenate([alignment.composed(regions, each) for each in turned]),
    )
