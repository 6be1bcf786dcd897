"""Stored descriptors of one metric, and the spaces in which they are compared.

Two facts make every search here exact in the end:

* the *embedding* of a descriptor is a space in which plain Euclidean distance bounds its metric:
  ``distance(x, y) <= cutoff`` implies ``||E(x) - E(y)|| <= reach(cutoff)``;
* a projection on orthonormal directions never makes distances longer.

So candidates may be sought in a projection of the embedding, with a float's slack, and only
:func:`distances` decides, in whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from annidx.descriptors import SIGNATURE_CODES, Descriptor

Rows = npt.NDArray[np.intp]
Stored = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

_BLOCK = 2048  # as floats these stay in a core's cache
_CENTRE = 128.0  # raw bytes squared and summed overflow a float32's 24 bits; centred ones do not

_LEVEL_OF_CODE = np.zeros(16, np.int8)
for _level, _code in SIGNATURE_CODES.items():
    _LEVEL_OF_CODE[_code] = _level
_LEVELS_OF_BYTE = np.stack([np.repeat(_LEVEL_OF_CODE, 16), np.tile(_LEVEL_OF_CODE, 16)], axis=1)


class Vectors:
    """The stored descriptors of one metric over all rows of a snapshot.

    Parameters
    ----------
    descriptor : Descriptor
    parts : Sequence of (n_i, width) uint8
        One block a segment, usually mapped from its file.
    live : (n,) bool
        False for rows that are not to be found.
    """

    def __init__(self, descriptor: Descriptor, parts: Sequence[Stored], live: Flags) -> None:
        self.descriptor = descriptor
        self.parts = parts
        self.live = live
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return len(self.live)

    def only(self, among: Flags) -> Vectors:
        """Return the same with fewer rows to be found: those of `among`, (n,) bool."""
        return Vectors(self.descriptor, self.parts, self.live & among)

    def take(self, rows: Rows) -> Stored:
        """Return the stored bytes of some rows, (m, width) uint8."""
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        if len(rows) and (owners == owners[0]).all():
            owner = owners[0]
            return np.asarray(self.parts[owner][rows - self._starts[owner]])
        taken = np.empty((len(rows), self.descriptor.width), np.uint8)
        for owner in np.unique(owners):
            here = owners == owner
            taken[here] = self.parts[owner][rows[here] - self._starts[owner]]
        return taken

    def blocks(self, rows: Rows | None = None) -> Iterator[tuple[Rows, Stored]]:
        """Yield (rows, stored bytes) of all live rows, or of `rows`, some thousands at a time."""
        wanted = np.flatnonzero(self.live) if rows is None else rows
        for start in range(0, len(wanted), _BLOCK):
            block = wanted[start : start + _BLOCK]
            yield block, self._side_by_side(block)

    def _side_by_side(self, rows: Rows) -> Stored:
        """Return the stored bytes of ascending rows, without a copy where they lie in a row."""
        first, last = int(rows[0]), int(rows[-1])
        owner = int(np.searchsorted(self._starts, first, side="right")) - 1
        start, stop = int(self._starts[owner]), int(self._starts[owner + 1])
        if last - first + 1 == len(rows) and last < stop and (np.diff(rows) == 1).all():
            return self.parts[owner][first - start : last + 1 - start]
        return self.take(rows)

    def points(self, rows: Rows) -> Points:
        """Return the embedding of some rows, (m, d) float32."""
        points = np.empty((len(rows), self.descriptor.dimension), np.float32)
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            points[start : start + len(block)] = embed(self.descriptor, self._side_by_side(block))
        return points


def values(descriptor: Descriptor, stored: Stored) -> npt.NDArray[np.uint8 | np.int8]:
    """Return what stored bytes stand for, (m, d): uint8 as they are, or int8 levels."""
    if descriptor.encoding == "bytes":
        return stored
    return _LEVELS_OF_BYTE[stored].reshape(len(stored), descriptor.dimension)


def embed(descriptor: Descriptor, stored: Stored) -> Points:
    """Return the embedding of stored bytes, (m, d) float32.

    For a Euclidean descriptor these are its values about their middle. For a normalised one they
    are scaled to unit length (zero stays zero): with a = ||x||, b = ||y||, t = (a - b) / (a + b)
    and w the distance of the unit vectors, the metric is d^2 = t^2 + (1 - t^2) w^2 / 4, hence
    w <= 2 d.
    """
    points = values(descriptor, stored).astype(np.float32)
    if descriptor.distance == "euclidean":
        points -= _CENTRE
        return points
    norms = np.sqrt(np.einsum("ij,ij->i", points, points))
    points /= np.maximum(norms, 1.0)[:, None]
    return points


def reach(descriptor: Descriptor, cutoff: float) -> float:
    """Return the Euclidean distance in the embedding that holds all matches within the cutoff.

    The slack covers float32 arithmetic: squared distances come from differences of sums that are as
    large as the squared norms (up to 7.8e7 for a thumb about an archive's own mean; errors up to
    43 were measured), each good to a few 1e-7 of that.
    """
    if descriptor.distance == "euclidean":
        cutoff *= descriptor.unit
        return float((cutoff**2 + 4e-6 * descriptor.dimension * 255.0**2) ** 0.5) * 1.00001
    return float((4.0 * cutoff**2 + 1e-5) ** 0.5) * 1.00001


def distances(descriptor: Descriptor, one: Stored, other: Stored) -> npt.NDArray[np.float64]:
    """Return the exact metric between rows of stored bytes, pairwise, (m,) float64.

    Computed in whole numbers up to the last square root, so that every engine and every machine
    gives the same bits. `one` may be a single row that is compared with all of `other`.
    """
    result = np.empty(len(other), np.float64)
    for start in range(0, len(other), _BLOCK):
        stop = min(start + _BLOCK, len(other))
        left = one if len(one) == 1 else one[start:stop]
        result[start:stop] = _distances(descriptor, left, other[start:stop])
    return result


def _distances(descriptor: Descriptor, one: Stored, other: Stored) -> npt.NDArray[np.float64]:
    x, y = (values(descriptor, each).astype(np.int16) for each in (one, other))
    difference = (x - y).astype(np.int32)
    apart = np.sqrt(_squares(difference))
    if descriptor.distance == "euclidean":
        return np.asarray(apart / descriptor.unit)
    norms = np.sqrt(_squares(x.astype(np.int32))) + np.sqrt(_squares(y.astype(np.int32)))
    # Both zero: 0 / 1. Opposite ones: 1, which the last bit of a root must not exceed.
    return np.asarray(np.minimum(apart / np.maximum(norms, 1.0), 1.0))


def _squares(whole: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    return np.asarray(np.einsum("ij,ij->i", whole, whole), np.float64)


def is_flat(thumbs: Stored) -> Flags:
    """Tell pictures with next to no information by their stored thumbs, (m,) bool.

    One flat colour, a blank page: in every channel the standard deviation over the thumbnail stays
    below 4 of 255. Nearness of such pictures says nothing.
    """
    pixels = thumbs.reshape(len(thumbs), thumbs.shape[1] // 3, 3).astype(np.float32)
    return np.asarray(pixels.std(axis=1).max(axis=1, initial=0.0) < FLAT_DEVIATION)


FLAT_DEVIATION = 4.0
