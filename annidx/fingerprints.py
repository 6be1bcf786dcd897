"""The arithmetic of the fingerprint: grays and thumbs to unit vectors, on both sides of the disk.

images/ computes what is stored of a picture, search/ computes what a query tries beside it: crops,
and frames that it may have been cut from. Both must be one arithmetic, so it stands below both.

A *region* is a part of the picture's frame that is looked at as if it were a picture: an affine map
of its own unit square into the frame's, (2, 3) float32, rows and columns of points (y, x, 1) in
0..1.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from annidx.descriptors import FINGERPRINT

Floats = npt.NDArray[np.float32]
Stored = npt.NDArray[np.uint8]

GRAY_SIDE = 64
"""Side of the stored gray that regions are read from, and that the second look compares."""
THUMB_SIDE = 20
SIDE, CHROMA_SIDE = 20, 10
FEATURES = SIDE**2 + 2 * CHROMA_SIDE**2
DIMENSION = FINGERPRINT.dimension
VIEWS = 3
"""Stored views a picture: the whole of it, and at most two regions inside of frames."""
SLOTS = FINGERPRINT.slots
"""The stored bytes of a picture are four slots of 64: three views, and where their regions lie."""

LEAST_NORM = 100.0
"""Contrast below which a picture counts as flat: so noise is not blown up to full length."""
TURNS = 8
WHOLE: Floats = np.array([[1, 0, 0], [0, 1, 0]], np.float32)

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_CODES_A_UNIT = FINGERPRINT.unit  # a component beyond .635 of a unit vector is cut off
_MIDDLE = 128
_WEIGHTS = "fingerprint-1.npy"


def box_region(y0: float, y1: float, x0: float, x1: float) -> Floats:
    """Return the region of an upright box, edges in 0..1 of the frame."""
    return np.array([[y1 - y0, 0, y0], [0, x1 - x0, x0]], np.float32)


def shares(low: Floats, high: Floats, cells: int, of: int) -> Floats:
    """Return area weights that average `of` pixels into `cells` over spans, (m, cells, of) float32.

    Parameters
    ----------
    low, high : (m,) float32
        Ends of the spans, in 0..1 of the `of` pixels; what lies outside of them is left out.
    """
    steps, pixel = _steps(cells, of)
    edges = (low[:, None] + (high - low)[:, None] * steps) * of
    begin = np.maximum(edges[:, :-1, None], pixel)
    end = np.minimum(edges[:, 1:, None], pixel + 1)
    weights = np.maximum(end - begin, 0.0)
    return np.asarray(weights / np.maximum(weights.sum(axis=2, keepdims=True), 1e-9), np.float32)


@cache
def _steps(cells: int, of: int) -> tuple[Floats, Floats]:
    return np.linspace(0.0, 1.0, cells + 1, dtype=np.float32), np.arange(of, dtype=np.float32)


@cache
def averages(cells: int, of: int) -> Floats:
    """Return the area weights over all of `of` pixels, (cells, of) float32; not to be written."""
    weights: Floats = shares(np.zeros(1, np.float32), np.ones(1, np.float32), cells, of)[0]
    weights.flags.writeable = False
    return weights


def read(pixels: Floats, regions: Floats, side: int) -> Floats:
    """Read regions out of square pictures, (m, side, side) float32.

    Upright boxes are averaged by area, tilted ones read bilinearly, twice as finely and averaged.

    Parameters
    ----------
    pixels : (m, n, n) float32
    regions : (m, 2, 3) float32
    side : int
    """
    of = pixels.shape[1]
    whole = (regions == WHOLE).all(axis=(1, 2))
    if whole.all():
        return np.asarray(averages(side, of) @ pixels @ averages(side, of).T, np.float32)
    result = np.empty((len(pixels), side, side), np.float32)
    tilted = (regions[:, 0, 1] != 0) | (regions[:, 1, 0] != 0)
    upright = ~whole & ~tilted
    if whole.any():
        weights = averages(side, of)
        result[whole] = weights @ pixels[whole] @ weights.T
    if upright.any():
        low = regions[upright][:, :, 2]
        high = regions[upright][:, [0, 1], [0, 1]] + low
        both = shares(low.ravel(), high.ravel(), side, of).reshape(-1, 2, side, of)
        result[upright] = both[:, 0] @ pixels[upright] @ both[:, 1].transpose(0, 2, 1)
    if tilted.any():
        fine = sample(pixels[tilted], regions[tilted], 2 * side)
        result[tilted] = fine.reshape(-1, side, 2, side, 2).mean(axis=(2, 4))
    return result


def sample(pixels: Floats, maps: Floats, side: int) -> Floats:
    """Read square pictures bilinearly on a side x side grid that is mapped into them.

    Parameters
    ----------
    pixels : (m, n, n) float32
    maps : (m, 2, 3) float32
        Of the grid's unit square into the pictures'; points outside take the nearest edge.
    """
    of = pixels.shape[1]
    y, x = (np.clip(each * of - 0.5, 0.0, of - 1.001) for each in positions(maps, side))
    return interpolated(pixels, y, x)


def positions(maps: Floats, side: int) -> tuple[Floats, Floats]:
    """Return where the middles of a grid's cells lie under maps: y and x, (m, side, side) each."""
    at = (np.arange(side, dtype=np.float32) + 0.5) / side
    down = maps[:, :, :1] * at
    right = maps[:, :, 1:2] * at + maps[:, :, 2:]
    both = np.asarray(down[:, :, :, None] + right[:, :, None, :], np.float32)
    return both[:, 0], both[:, 1]


def interpolated(pixels: Floats, y: Floats, x: Floats) -> Floats:
    """Read square pictures at points in pixels, 0 <= y, x < n - 1, bilinearly; the shape of y."""
    side = pixels.shape[1]
    row, column = np.floor(y), np.floor(x)
    down, right = y - row, x - column
    # In place, and by take(): a quarter of the time that plain indexing needs.
    at = (row * side + column).astype(np.intp)
    at += (np.arange(len(pixels)) * side * side)[:, None, None]
    flat = pixels.reshape(-1)
    upper = flat.take(at, mode="clip")
    at += 1
    upper += (flat.take(at, mode="clip") - upper) * right
    at += side
    after = flat.take(at, mode="clip")
    at -= 1
    lower = flat.take(at, mode="clip")
    lower += (after - lower) * right
    lower -= upper
    lower *= down
    upper += lower
    return np.asarray(upper, np.float32)


def features(gray: Floats, chroma: Floats) -> Floats:
    """Return tone-invariant features of pictures, (m, 600) float32.

    The gray less its mean, divided by its norm, and the two differences of colour on the same
    scale: a change of brightness or contrast changes nothing.

    Parameters
    ----------
    gray : (m, 20, 20) float32
    chroma : (m, 2, 10, 10) float32
        Blue less luma, red less luma.
    """
    flat = gray.reshape(len(gray), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    both = np.concatenate([flat, chroma.reshape(len(chroma), -1)], axis=1)
    return np.asarray(both / np.maximum(norm, LEAST_NORM), np.float32)


def chromas(thumbs: Stored) -> Floats:
    """Return the differences of colour of stored thumbs, (m, 2, 20, 20) float32."""
    pixels = thumbs.reshape(-1, THUMB_SIDE, THUMB_SIDE, 3).astype(np.float32)
    luma = pixels @ _LUMA
    return np.stack([pixels[..., 2] - luma, pixels[..., 0] - luma], axis=1)


def describe(gray: Floats, thumb: Stored, regions: Floats) -> Floats:
    """Return the unit vectors of regions of a picture, (m, 64) float32.

    Parameters
    ----------
    gray : (64, 64) float32
        Luma of the whole picture.
    thumb : (1200,) uint8
        Its stored thumb, for colour.
    regions : (m, 2, 3) float32
    """
    count = len(regions)
    colour = np.tile(chromas(thumb)[0], (count, 1, 1))  # two a region
    chroma = read(colour, np.repeat(regions, 2, axis=0), CHROMA_SIDE)
    chroma = chroma.reshape(-1, 2, CHROMA_SIDE, CHROMA_SIDE)
    grays = np.broadcast_to(gray, (count, *gray.shape))
    return project(features(read(grays, regions, SIDE), chroma))


def project(found: Floats) -> Floats:
    """Project features on the learned directions, to unit length; (m, 64) float32."""
    directions, mean = _weights()
    return unit(np.asarray((found - mean) @ directions.T, np.float32))


def unit(vectors: Floats) -> Floats:
    """Scale rows to unit length; rows of zeros stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-9), np.float32)


def codes(vectors: Floats) -> Stored:
    """Return unit vectors as they are stored, (m, 64) uint8: 1/200 a step, about 128."""
    whole = np.clip(np.rint(vectors * _CODES_A_UNIT), -127, 127)
    return np.asarray(whole + _MIDDLE, np.uint8)


def decoded(stored: Stored) -> Floats:
    """Return stored vectors at unit length, (m, 64) float32; missing ones are zeros."""
    return unit(stored.astype(np.float32) - _MIDDLE)


def packed(vectors: Floats, regions: Floats) -> bytes:
    """Return the stored bytes of a picture's fingerprint, 256 of them.

    Parameters
    ----------
    vectors : (1 to 3, 64) float32
        Of the whole picture, then of its regions.
    regions : (0 to 2, 2, 3) float32
    """
    slots = np.full((SLOTS, DIMENSION), _MIDDLE, np.uint8)
    slots[: len(vectors)] = codes(vectors)
    where = np.zeros(DIMENSION // 4, "<f4")
    where[: 6 * len(regions)] = regions.ravel()
    slots[-1] = where.view(np.uint8)
    return slots.tobytes()


def present(stored: Stored) -> npt.NDArray[np.bool_]:
    """Tell which slots of stored fingerprints hold a view, (m, 4) bool; the last never does."""
    slots = stored.reshape(-1, SLOTS, DIMENSION)
    there = (slots[:, :VIEWS] != _MIDDLE).any(axis=2)
    there[:, 0] = True  # also when it is of one flat colour
    return np.concatenate([there, np.zeros((len(there), 1), np.bool_)], axis=1)


def regions_of(stored: Stored) -> Floats:
    """Return where the views of stored fingerprints lie, (m, 3, 2, 3) float32."""
    last = np.ascontiguousarray(stored.reshape(-1, SLOTS, DIMENSION)[:, -1])
    found = np.empty((len(last), VIEWS, 2, 3), np.float32)
    found[:, 0] = WHOLE
    found[:, 1:] = last.view("<f4")[:, : 6 * (VIEWS - 1)].reshape(-1, VIEWS - 1, 2, 3)
    return found


def turned(vectors: Floats, turn: int) -> Floats:
    """Return the vectors of pictures that are turned, (m, 64) float32; see :func:`turn_map`.

    The learned directions span a space that turns map into itself, so no pixel is needed.
    """
    return vectors if turn == 0 else np.asarray(vectors @ _turns()[turn], np.float32)


def turn_map(turn: int) -> Floats:
    """Return where points of a turned picture lie in the picture, (2, 3) float32.

    Bits of `turn`: 4 rows and columns are swapped first, 1 mirrored left to right, 2 top to bottom.
    """
    matrix = np.eye(3, dtype=np.float32)
    for bit, step in (
        (2, [[-1, 0, 1], [0, 1, 0], [0, 0, 1]]),
        (1, [[1, 0, 0], [0, -1, 1], [0, 0, 1]]),
        (4, [[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
    ):
        if turn & bit:
            matrix = np.array(step, np.float32) @ matrix
    return matrix[:2]


def turned_features(found: Floats, turn: int) -> Floats:
    """Return the features of turned pictures, (m, 600) float32."""
    parts, start = [], 0
    for side in (SIDE, CHROMA_SIDE, CHROMA_SIDE):
        square = found[:, start : start + side**2].reshape(-1, side, side)
        start += side**2
        if turn & 4:
            square = square.transpose(0, 2, 1)
        if turn & 1:
            square = square[:, :, ::-1]
        if turn & 2:
            square = square[:, ::-1]
        parts.append(square.reshape(len(found), -1))
    return np.concatenate(parts, axis=1)


@cache
def _weights() -> tuple[Floats, Floats]:
    """Return the learned directions, (64, 600) float32, and the mean, (600,)."""
    with resources.files("annidx").joinpath(_WEIGHTS).open("rb") as handle:
        stored: Floats = np.load(handle, allow_pickle=False)
    return stored[:-1], stored[-1]


@cache
def _turns() -> list[Floats]:
    """Return what each turn does to vectors, (64, 64) float32 to multiply from the right.

    The directions solve a least-squares problem each: turned directions in terms of themselves.
    """
    directions, _ = _weights()
    inverse = np.linalg.pinv(directions.astype(np.float64))
    # Rows: x -> directions @ turned(x). turned(x) is a permutation of x, so it may be read off
    # the directions' columns, permuted the other way.
    identity = np.eye(FEATURES, dtype=np.float32)
    return [
        np.asarray((directions @ turned_features(identity, turn).T @ inverse).T, np.float32)
        for turn in range(TURNS)
    ]
