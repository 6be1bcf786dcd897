"""What two pictures are to each other: what is known of both, what was seen, what it is called.

Dataclasses and names only, no numpy: search/ measures, explaining.py judges and words it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["identical", "same-pixels", "edited", "same-scene", "similar"]

KINDS: tuple[Kind, ...] = ("identical", "same-pixels", "edited", "same-scene", "similar")
"""From the surest to the vaguest; only the first three are ever suggested for removal."""

DUPLICATES: tuple[Kind, ...] = KINDS[:3]
"""One exposure; the others are related at most."""

Box = tuple[float, float, float, float]
"""Edges y0, y1, x0, x1 in 0..1 of a picture's frame."""

Change = dict[str, Any]
"""One difference: "what", and its amounts; numbers, texts and lists only, for JSON."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a picture beside its pixels; everything may be missing.

    Attributes
    ----------
    width, height : int
        Pixels as stored, before the orientation is applied; 0 when unknown.
    orientation : int
        EXIF orientation 1-8.
    size : int
        Bytes of the file; 0 when it has none.
    format : str
    content_hash, pixel_hash : bytes
        32 bytes each; empty or zeros when unknown.
    taken : str
        Local time of the exposure, 'YYYY-MM-DDTHH:MM:SS'.
    subsecond : str
        Digits behind the second.
    camera : str
    exposure : str
        As the index has it: '1/250 s, -2 EV'.
    path : bytes
    """

    width: int = 0
    height: int = 0
    orientation: int = 1
    size: int = 0
    format: str = ""
    content_hash: bytes = b""
    pixel_hash: bytes = b""
    taken: str = ""
    subsecond: str = ""
    camera: str = ""
    exposure: str = ""
    path: bytes = b""

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as shown, in pixels."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


NOTHING = Facts()
"""Of a picture of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at two pictures saw, the second against the first; see search/differences.py.

    Attributes
    ----------
    map : sequence of six float
        Points of the first whole picture (y, x in 0..1) to points of the second, row by row.
    agreement : float
        How well the two agree once aligned.
    texture, core, torn, exchanged : float
        Of :class:`annidx.search.textures.Textures`: how well the fine detail agrees.
    odd, scattered : float
        Shares that no change of tone explains.
    box : tuple of four float
        Where, in the first picture; zeros when nowhere.
    rings : tuple of float
        How quiet is what only the first, only the second shows.
    plain, ground : float
        Share of the plainer one that is of one gray, and that gray.
    lines, fineness : float
        How much it looks like writing.
    brightness, contrast, rest, range, light, detail : float
        Of :class:`annidx.search.tones.Tones`.
    chroma : tuple of float
        Strength of colour of both.
    saturation, hue : float
    tint : tuple of float
        Levels towards blue, towards red.
    off_colour, far_off, white, white_change, object_change : float
        Of :class:`annidx.search.colours.Colours`.
    back : Seen or None
        The first against the second, where that was looked at, too: see explaining.doubtful.
    """

    map: Sequence[float]
    agreement: float
    texture: float
    core: float
    torn: float
    exchanged: float
    odd: float
    scattered: float
    box: Box
    rings: tuple[float, float]
    plain: float
    ground: float
    lines: float
    fineness: float
    brightness: float
    contrast: float
    rest: float
    range: float
    light: float
    detail: float
    chroma: tuple[float, float]
    saturation: float
    hue: float
    tint: tuple[float, float]
    off_colour: float
    far_off: float
    white: float
    white_change: float
    object_change: float
    back: Seen | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the second of two pictures is to the first.

    Attributes
    ----------
    kind : Kind
    changes : tuple of Change
        One object each: ``{"what": "cropped", ...}``.
    words : str
        All of them in one line.
    map : sequence of six float, optional
        See :attr:`Seen.map`; None of copies, which need no look.
    """

    kind: Kind
    changes: tuple[Change, ...]
    words: str
    map: Sequence[float] | None = None
