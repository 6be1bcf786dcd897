"""Pictures to stored descriptors, by the registry: the function that each entry names, called once.

What several descriptors read of a picture is read once: a gray20 costs no resize beside a thumb.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from annidx.descriptors import DESCRIPTORS
from annidx.images.fingerprint import gray64 as averaged
from annidx.images.signature import pack, signature
from annidx.images.thumb import thumb

Pixels = npt.NDArray[np.uint8]


class Readable(Protocol):
    """What descriptors read of a picture; see :class:`annidx.images.pixels.Picture`."""

    def rgb(self, width: int, height: int) -> Pixels:
        """Return it resized, (height, width, 3) uint8 sRGB."""

    def gray(self) -> Pixels:
        """Return its luma, small, in its own shape, (h, w) uint8."""


Compute = Callable[["ReadOnce"], bytes]


class ReadOnce:
    """A picture that is resized once for each size that is asked for; arrays are not to be written.

    Parameters
    ----------
    picture : Readable
    """

    def __init__(self, picture: Readable) -> None:
        self._picture = picture
        self._sizes: dict[tuple[int, int], Pixels] = {}
        self._gray: Pixels | None = None
        self._gray64: Pixels | None = None

    def rgb(self, width: int, height: int) -> Pixels:
        """Return it resized, (height, width, 3) uint8 sRGB."""
        size = width, height
        if size not in self._sizes:
            self._sizes[size] = self._picture.rgb(width, height)
        return self._sizes[size]

    def gray(self) -> Pixels:
        """Return its luma, small, in its own shape, (h, w) uint8."""
        if self._gray is None:
            self._gray = self._picture.gray()
        return self._gray

    def gray64(self) -> Pixels:
        """Return its luma averaged to 64 x 64, (64, 64) uint8."""
        if self._gray64 is None:
            self._gray64 = averaged(self.gray())
        return self._gray64


def describe(picture: Readable, names: Iterable[str]) -> dict[str, bytes]:
    """Compute descriptors of a picture.

    Parameters
    ----------
    picture : Readable
    names : iterable of str
        Of the registry. Only these are computed.

    Returns
    -------
    dict of str to bytes
        The stored bytes of each, as long as the registry's `width`.
    """
    once = ReadOnce(picture)
    return {name: function(name)(once) for name in names}


@cache
def function(name: str) -> Compute:
    """Return the function that computes a descriptor, by the registry's `compute`."""
    # By name, or the registry could not stay free of code and every descriptor would be imported to
    # compute one. Nothing but modules of this package can be named, so the layers hold.
    module, _, attribute = DESCRIPTORS[name].compute.partition(":")
    found: Compute = getattr(importlib.import_module(f"annidx.images.{module}"), attribute)
    return found


def thumb_bytes(picture: Readable) -> bytes:
    """Return the stored bytes of the descriptor thumb."""
    return thumb(picture).tobytes()


def signature_bytes(picture: Readable) -> bytes:
    """Return the stored bytes of the descriptor signature: two levels a byte."""
    return pack(signature(picture.gray())).tobytes()
