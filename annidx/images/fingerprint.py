"""The descriptors ``gray64`` and ``fingerprint``: what a picture shows, whatever its tone."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from annidx import fingerprints
from annidx.images import frames

Pixels = npt.NDArray[np.uint8]


class Readable(Protocol):
    """What is read of a picture; see :class:`annidx.images.compute.ReadOnce`."""

    def rgb(self, width: int, height: int) -> Pixels:
        """Return it resized, (height, width, 3) uint8 sRGB."""

    def gray(self) -> Pixels:
        """Return its luma, small, in its own shape, (h, w) uint8."""

    def gray64(self) -> Pixels:
        """Return :func:`gray64` of its luma, (64, 64) uint8."""


def gray64(gray: Pixels) -> Pixels:
    """Return luma averaged by area to 64 x 64, (64, 64) uint8.

    Parameters
    ----------
    gray : (h, w) uint8
        ITU-R 601 luma of the upright picture.
    """
    height, width = gray.shape
    side = fingerprints.GRAY_SIDE
    rows, columns = fingerprints.averages(side, height), fingerprints.averages(side, width)
    return np.asarray(np.rint(rows @ gray.astype(np.float32) @ columns.T), np.uint8)


def gray64_bytes(picture: Readable) -> bytes:
    """Return the stored bytes of the descriptor gray64, 4,096 of them, in row order."""
    return picture.gray64().tobytes()


def fingerprint_bytes(picture: Readable) -> bytes:
    """Return the stored bytes of the descriptor fingerprint, 256 of them.

    1. The picture's views: the whole of it, and at most two regions that may be the picture proper
       inside of a frame (:func:`annidx.images.frames.regions`).
    2. Of each, luma at 20 x 20, read from the gray64, less its mean and divided by its norm, and
       the differences blue - luma and red - luma at 10 x 10, read from the thumb, on the same
       scale: 600 features that a change of brightness or contrast leaves alone.
    3. These are projected on 64 learned directions, in which different photos lie far apart and
       edits of one near together, and scaled to unit length.
    4. Stored are three times 64 values of 1/200 each, 128 added; a missing view is 128 throughout.
       Then for the second and the third view its region, six float32 numbers each, little-endian
       (zeros when missing), and 16 zeros.

    Two views are compared by the Euclidean distance of their vectors.

    Source: linear discriminant analysis on photos and edits of them, scripts/train_fingerprint.py.
    """
    gray = picture.gray()
    found = frames.regions(gray)
    regions = np.stack([fingerprints.WHOLE, *found])
    small, thumb = picture.gray64().astype(np.float32), picture.rgb(20, 20).ravel()
    vectors = fingerprints.describe(small, thumb, regions)
    return fingerprints.packed(vectors, regions[1:])
