"""The registry of descriptors: what each is called, how it is stored, how two are compared.

It holds facts, no code of theirs: images/ computes descriptors, store/ writes them, search/
compares them, and all three read the facts here. Importing it costs nothing (no numpy).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from annidx.errors import UsageError

Distance = Literal["euclidean", "normalised"]
Encoding = Literal["bytes", "levels4"]

SIGNATURE_CODES = {-2: 0b1100, -1: 0b0100, 0: 0b0000, 1: 0b0010, 2: 0b0011}
"""The 4-bit code of each signature level; popcount(code(x) XOR code(y)) is |x - y|."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A fixed-length vector computed from pixels.

    Attributes
    ----------
    name : str
        Its name in code, options, JSON and Parquet; also the name of its metric.
    version : int
        Raised whenever the same picture would get other values; vectors of different versions
        are never compared.
    dimension : int
        Number of values.
    width : int
        Stored bytes a picture.
    encoding : {'bytes', 'levels4'}
        'bytes': one uint8 a value. 'levels4': two values a byte, the first in the high half,
        as :data:`SIGNATURE_CODES`.
    distance : {'euclidean', 'normalised'}
        'euclidean': ``||x - y||``. 'normalised': ``||x - y|| / (||x|| + ||y||)``, and 0 when
        both are all zero.
    cutoff : float
        Default inclusive cutoff.
    largest : float
        The largest distance that can occur; a cutoff at or above it matches everything.
    meaning : str
        One line for help texts.
    """

    name: str
    version: int
    dimension: int
    width: int
    encoding: Encoding
    distance: Distance
    cutoff: float
    largest: float
    meaning: str


THUMB = Descriptor(
    name="thumb",
    version=1,
    dimension=1200,
    width=1200,
    encoding="bytes",
    distance="euclidean",
    cutoff=300.0,
    largest=255.0 * 1200**0.5,
    meaning="Euclidean distance of 20x20 RGB thumbnails; 0 same, under 100 resized or recompressed",
)
SIGNATURE = Descriptor(
    name="signature",
    version=1,
    dimension=272,
    width=136,
    encoding="levels4",
    distance="normalised",
    cutoff=0.3,
    largest=1.0,
    meaning="normalised distance of Goldberg image signatures; under 0.3 the same picture",
)

DESCRIPTORS = {descriptor.name: descriptor for descriptor in (THUMB, SIGNATURE)}
DEFAULT_METRIC = THUMB.name


def descriptor(name: str) -> Descriptor:
    """Return the descriptor of that name.

    Raises
    ------
    UsageError
        When there is none; the message lists those there are.
    """
    try:
        return DESCRIPTORS[name]
    except KeyError:
        message = f"unknown metric {name!r}: expected one of {', '.join(DESCRIPTORS)}"
        raise UsageError(message) from None
