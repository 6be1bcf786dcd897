"""The registry of descriptors: what each is called, how it is stored, how two are compared.

It holds facts, no code of theirs: images/ computes descriptors, store/ writes them, search/
compares them, and all three read the facts here. Importing it costs nothing (no numpy).

A new descriptor is one entry here and the function that the entry names; whatever is Euclidean over
bytes is then built, searched, joined and certified without another line of code.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
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
    compute : str
        ``module:function`` below annidx.images that makes the stored bytes of a picture; see
        :mod:`annidx.images.compute`.
    meaning : str
        One line for help texts.
    strict, loose : float
        A cutoff below the default that keeps to copies, and one above it that errs at times.
    unit : float
        Stored values are so many times what the distance is told in.
    nearest : int or None
        So many of the vectors within the cutoff of each a graph has to find; None: all of them.
    slots : int
        Vectors that are stored side by side for each picture, each of ``width / slots`` bytes.
    needs : tuple of str
        Other descriptors without which this one cannot be searched.
    """

    name: str
    version: int
    dimension: int
    width: int
    encoding: Encoding
    distance: Distance
    cutoff: float
    largest: float
    compute: str
    meaning: str
    strict: float
    loose: float
    unit: float = 1.0
    nearest: int | None = None
    slots: int = 1
    needs: tuple[str, ...] = ()

    @property
    def presets(self) -> dict[str, float]:
        """Cutoffs by name, ``--match``; 'exact' is no cutoff alone and not among them."""
        return {"strict": self.strict, "normal": self.cutoff, "loose": self.loose}


THUMB = Descriptor(
    name="thumb",
    version=2,
    dimension=1200,
    width=1200,
    encoding="bytes",
    distance="euclidean",
    cutoff=300.0,
    largest=255.0 * 1200**0.5,
    compute="compute:thumb_bytes",
    meaning="Euclidean distance of 20x20 RGB thumbnails; 0 same, under 100 resized or recompressed",
    strict=100.0,
    loose=600.0,
)
SIGNATURE = Descriptor(
    name="signature",
    version=2,
    dimension=272,
    width=136,
    encoding="levels4",
    distance="normalised",
    cutoff=0.3,
    largest=1.0,
    compute="compute:signature_bytes",
    meaning="normalised distance of Goldberg image signatures; under 0.3 the same picture",
    strict=0.2,
    loose=0.4,
)


def _gray(side: int, cutoff: float, strict: float, loose: float) -> Descriptor:
    """Return the entry of a gray thumbnail.

    The cutoffs are about as strict as the thumb's 300. Measured on 1,400 photos of Caltech-101
    against 52 kinds of edits of 200 of them: no false pair among 14.5 million with any of the four;
    the nearest unrelated photos lie at 323 (thumb), 43, 142 and 189. The thumb's cutoff scaled by
    the square root of the dimension would be 69, 139 and 173; at 69 gray8 has 63 false pairs. The
    loose ones hold 14, 17 and 16 of the 979,300 pairs of 1,400 photos, the thumb's 600 holds 19.
    """
    return Descriptor(
        name=f"gray{side}",
        version=1,
        dimension=side**2,
        width=side**2,
        encoding="bytes",
        distance="euclidean",
        cutoff=cutoff,
        largest=255.0 * side,
        compute=f"gray:gray{side}",
        meaning=f"Euclidean distance of {side}x{side} gray thumbnails; blind to colour",
        strict=strict,
        loose=loose,
    )


GRAY8 = _gray(8, 40.0, strict=15.0, loose=60.0)
GRAY16 = _gray(16, 130.0, strict=45.0, loose=200.0)
GRAY20 = _gray(20, 175.0, strict=60.0, loose=270.0)
# Of the pairs of 1,400 photos 7 lie within 650 and 15 within 1000, all of them copies or frames of
# one scene; two photos of different things come no nearer than 1366.
GRAY64 = replace(
    _gray(64, 650.0, strict=225.0, loose=1000.0),
    compute="fingerprint:gray64_bytes",
    meaning="Euclidean distance of 64x64 gray thumbnails, averaged by area; blind to colour",
)
FINGERPRINT = Descriptor(
    name="fingerprint",
    version=1,
    dimension=64,
    width=256,
    encoding="bytes",
    distance="euclidean",
    cutoff=1.0,
    largest=2.0,
    compute="fingerprint:fingerprint_bytes",
    meaning="distance of learned unit vectors, blind to tone and turns; a second look judges",
    strict=1.0,
    loose=1.0,
    unit=200.0,
    nearest=8,  # a second look judges them, and sees more where these match
    slots=4,
    needs=("thumb", "gray64"),
)
VIEW = replace(FINGERPRINT, width=FINGERPRINT.width // FINGERPRINT.slots, slots=1, cutoff=0.6)
"""One view of a picture, of the four slots that are stored of each.

Its cutoff is what graphs are certified at: within it a view has some neighbours, not hundreds.
"""

_ALL = (THUMB, SIGNATURE, GRAY8, GRAY16, GRAY20, GRAY64, FINGERPRINT)
DESCRIPTORS = {each.name: each for each in _ALL}
"""All that there are, in the order in which they are stored and listed."""

DEFAULT_DESCRIPTORS = (THUMB.name, SIGNATURE.name, GRAY64.name, FINGERPRINT.name)
"""What a build computes unless it is told otherwise (``annidx build --descriptors``)."""


def default_metric(held: Container[str]) -> str:
    """Return the metric of searches that name none: the fingerprint, if the index holds it."""
    return FINGERPRINT.name if FINGERPRINT.name in held else THUMB.name


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


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """Check which descriptors an index is to hold; return them once each, in the registry's order.

    Raises
    ------
    UsageError
        When one is unknown, or the thumb is not among them: it tells pictures with next to no
        information.
    """
    wanted = set(names)
    for name in sorted(wanted - set(DESCRIPTORS)):
        message = f"unknown descriptor {name!r}: expected some of {', '.join(DESCRIPTORS)}"
        raise UsageError(message)
    if THUMB.name not in wanted:
        message = f"descriptors must include {THUMB.name}: it tells pictures without information"
        raise UsageError(message)
    for name in sorted(wanted):
        wanted |= set(DESCRIPTORS[name].needs)
    return tuple(name for name in DESCRIPTORS if name in wanted)
