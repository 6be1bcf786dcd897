"""The descriptors ``gray8``, ``gray16`` and ``gray20``: the picture in gray, at n x n pixels."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

_RED, _GREEN, _BLUE = 19595, 38470, 7471  # .299, .587 and .114 of 65536, as Pillow rounds them


class Resizable(Protocol):
    """A picture that can be read out at any size; see :class:`annidx.images.pixels.Picture`."""

    def rgb(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        """Return (height, width, 3) uint8."""


def gray(picture: Resizable, side: int) -> npt.NDArray[np.uint8]:
    """Return the gray thumbnail of a picture, (side * side,) uint8.

    1. The picture is brought upright, laid over white, converted to sRGB and resized to `side` x
       `side` pixels exactly as :func:`annidx.images.thumb.thumb` does it.
    2. Each pixel becomes its luma by ITU-R BT.601, ``0.299 R + 0.587 G + 0.114 B``, rounded.
    3. The bytes are taken in row order.

    So gray20 is the luma of the thumb. Two grays of one side are compared by their Euclidean
    distance.

    Source: gray thumbnails of 8 to 20 pixels are the common ground of near-duplicate finders; the
    resizing is that of the thumb, so that one decode (and for gray20 one resize) serves both.
    """
    return luma(picture.rgb(side, side)).reshape(-1)


def luma(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the ITU-R BT.601 luma of (..., 3) uint8 sRGB, (...) uint8, bit for bit as Pillow's."""
    weighted = rgb.astype(np.uint32) @ np.array([_RED, _GREEN, _BLUE], np.uint32)
    return np.asarray((weighted + 0x8000) >> 16, np.uint8)


def gray8(picture: Resizable) -> bytes:
    """Return the stored bytes of the descriptor gray8, 64 of them."""
    return gray(picture, 8).tobytes()


def gray16(picture: Resizable) -> bytes:
    """Return the stored bytes of the descriptor gray16, 256 of them."""
    return gray(picture, 16).tobytes()


def gray20(picture: Resizable) -> bytes:
    """Return the stored bytes of the descriptor gray20, 400 of them."""
    return gray(picture, 20).tobytes()
