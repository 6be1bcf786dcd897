"""Descriptors side by side: those of other tools, written out in numpy, and annidx's own.

A peer is what its makers define, at the cutoff that they or their users take:

* phash: the signs of 8 x 8 low frequencies of a 32 x 32 gray picture (package imagehash);
* dhash: is each of 9 x 8 gray pixels darker than its right neighbour (package imagehash);
* pdq: 16 x 16 frequencies of a 64 x 64 luma against their median (ThreatExchange, PDQ). Its Python
  package has no wheels for Linux, so it stands here; it agrees with that package.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from annidx.descriptors import DESCRIPTORS
from annidx.images.extract import query_record
from annidx.native import quiet_stderr
from annidx.search.vectors import values

Floats = npt.NDArray[np.float64]
Vector = npt.NDArray[np.int16]  # (d,): whole numbers; bits are -1 and 1
Vectors = npt.NDArray[np.int16]  # (n, d)
Distance = Literal["hamming", "euclidean", "normalised"]

LUMA = np.array([0.299, 0.587, 0.114])  # of ITU-R 601, as PDQ takes it
PDQ_SIDE = 64
TOGETHER = 16  # pictures a process is handed at a time


def phash(image: Image.Image) -> Vector:
    """Return the 64 bits of pHash of an RGB picture."""
    gray = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), np.float64)
    waves = cosines(np.arange(8), 32)
    return bits(waves @ gray @ waves.T)


def dhash(image: Image.Image) -> Vector:
    """Return the 64 bits of dHash of an RGB picture."""
    gray = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.LANCZOS))
    return signs(gray[:, 1:] > gray[:, :-1])


def pdq(image: Image.Image) -> Vector:
    """Return the 256 bits of PDQ of an RGB picture."""
    luma = np.asarray(image, np.float64) @ LUMA
    if luma.shape != (PDQ_SIDE, PDQ_SIDE):
        for _ in range(2):  # two boxes make a tent
            luma = boxed(boxed(luma.T).T)
        luma = luma[np.ix_(*(centres(length) for length in luma.shape))]
    waves = cosines(np.arange(1, 17), PDQ_SIDE)
    return bits(waves @ luma @ waves.T)


def cosines(frequencies: npt.NDArray[np.intp], length: int) -> Floats:
    """Return the rows of the discrete cosine transform of a length, (frequencies, length)."""
    return np.asarray(np.cos(np.pi / 2 / length * np.outer(frequencies, 2 * np.arange(length) + 1)))


def boxed(pixels: Floats) -> Floats:
    """Return the means over a window along the first axis, which is cut off at both ends."""
    length = len(pixels)
    window = (length + 2 * PDQ_SIDE - 1) // (2 * PDQ_SIDE)
    ahead = (window + 2) // 2
    places = np.arange(length)
    low, high = np.maximum(places - (window - ahead), 0), np.minimum(places + ahead, length)
    sums = np.concatenate([np.zeros((1, pixels.shape[1])), np.cumsum(pixels, axis=0)])
    return np.asarray((sums[high] - sums[low]) / (high - low)[:, None])


def centres(length: int) -> npt.NDArray[np.intp]:
    """Return which pixel stands for each of 64 parts."""
    return ((np.arange(PDQ_SIDE) + 0.5) * length / PDQ_SIDE).astype(np.intp)


def bits(spectrum: Floats) -> Vector:
    """Tell which frequencies lie above the median: of an even number, above the lower middle one.

    With imagehash's mean of the two middle ones the same are above, unless these two are equal.
    """
    return signs(spectrum > np.sort(spectrum, axis=None)[spectrum.size // 2 - 1])


def signs(flags: npt.NDArray[np.bool_]) -> Vector:
    """Return flags as one row of -1 and 1."""
    return np.where(flags.reshape(-1), 1, -1).astype(np.int16)


PEERS: dict[str, Callable[[Image.Image], Vector]] = {"phash": phash, "dhash": dhash, "pdq": pdq}
NAMES = (*PEERS, *DESCRIPTORS)
USUAL = {
    "phash": (10.0,),
    "dhash": (6.0, 9.0),
    "pdq": (31.0,),
    "thumb": (300.0, 600.0),
    "signature": (0.3,),
}
"""Inclusive cutoffs that are in use."""


def usual(name: str) -> tuple[float, ...]:
    """Return the cutoffs that are in use for a descriptor."""
    return USUAL.get(name) or (DESCRIPTORS[name].cutoff,)


def distance_of(name: str) -> Distance:
    """Return how two vectors of a descriptor are compared."""
    return "hamming" if name in PEERS else DESCRIPTORS[name].distance


def describe(path: Path, names: Sequence[str]) -> dict[str, Vector]:
    """Return the vectors of a picture by descriptor."""
    found: dict[str, Vector] = {}
    peers = [name for name in names if name in PEERS]
    if peers:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        found |= {name: PEERS[name](upright) for name in peers}
    own = [name for name in names if name not in PEERS]
    if own:
        with quiet_stderr():
            stored = query_record(os.fsencode(path), own).descriptors
        for name in own:
            row = np.frombuffer(stored[name], np.uint8)[None]
            found[name] = values(DESCRIPTORS[name], row)[0].astype(np.int16)
    return found


def describe_all(
    paths: Sequence[Path], names: Sequence[str], processes: int = 1
) -> Mapping[str, Vectors]:
    """Return the vectors of all pictures, (n, d) for each descriptor, in the order of the paths."""
    work = partial(describe, names=tuple(names))
    if processes == 1 or len(paths) < TOGETHER:
        rows = list(map(work, paths))
    else:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            rows = list(pool.map(work, paths, chunksize=TOGETHER))
    print(f"  {len(paths):,} pictures described", file=sys.stderr)
    return {name: np.stack([row[name] for row in rows]) for name in names}


def distances(distance: Distance, one: Vectors, other: Vectors) -> Floats:
    """Return the distances of all rows of one to all of the other, (n, m) float64.

    Parameters
    ----------
    distance : str
        'hamming': of bits that are -1 and 1; 'euclidean'; 'normalised': divided by the sum of both
        norms, 0 when both are 0.
    one, other : (n, d), (m, d) int16
        Sums of their products are whole numbers under 2^53, so equal ones are 0 apart.
    """
    left, right = one.astype(np.float64), other.astype(np.float64)
    products = left @ right.T
    if distance == "hamming":
        return np.asarray((one.shape[1] - products) / 2)
    norms = [np.einsum("nd,nd->n", each, each) for each in (left, right)]
    apart = np.sqrt(norms[0][:, None] + norms[1][None] - 2 * products)
    if distance == "euclidean":
        return np.asarray(apart)
    both = np.sqrt(norms[0])[:, None] + np.sqrt(norms[1])[None]
    return np.asarray(apart / np.where(both > 0, both, 1))
