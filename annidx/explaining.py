"""What two matching pictures are to each other, and what differs: judged and worded.

Measured elsewhere (search/differences.py); here are the rules, one pair at a time, without numpy.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass, replace

from annidx import layouts, wording
from annidx.kinds import Explanation, Facts, Kind, Seen
from annidx.layouts import Layout
from annidx.recolouring import SHIFTED, keeps_colours, lies_alike, lined

PLAIN = (0.30, 0.42)
"""Pictures of which so much is of one light gray are taken for writing or for things on
white: what tells two of those apart is small. Papers, chats and slides have .36 and up."""
LIGHT = 150.0
LINES, FINENESS = (2.5, 4.5), (1.25, 1.5)
"""Of the two, writing: it comes in lines, or, where those are too fine, is nothing but detail.
Of drawn and photographed things on white 95 % have at most 2 lines and 1.3; papers, receipts, chats
and slides have 5 lines, or 1.5."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a pair of an original and its edit may differ.

    Attributes
    ----------
    odd, torn, exchanged : float
        At most.
    texture, core : float
        At least.
    """

    odd: float
    torn: float
    exchanged: float
    texture: float
    core: float

    def hold(self, seen: Seen) -> bool:
        """Say whether a pair is within them."""
        return (
            seen.odd <= self.odd
            and seen.torn <= self.torn
            and seen.exchanged <= self.exchanged
            and seen.texture >= self.texture
            and seen.core >= self.core
        )

    def towards(self, other: Limits, share: float) -> Limits:
        """Return limits between these, 0, and others, 1."""
        values = (a + (b - a) * share for a, b in zip(astuple(self), astuple(other), strict=True))
        return Limits(*values)


PHOTO = Limits(odd=0.17, torn=0.42, exchanged=0.2, texture=0.5, core=0.0)
"""Of photos: what unrelated ones that match share is less by far."""
WRITING = Limits(odd=0.006, torn=0.05, exchanged=0.008, texture=0.86, core=0.9)
THING = Limits(odd=0.006, torn=0.05, exchanged=0.02, texture=0.86, core=0.9)
"""Of what is plain: writing, and things on white, of which two of a kind agree nearly as well."""
TONED = Limits(odd=0.03, torn=0.02, exchanged=0.0, texture=0.9, core=0.975)
"""Of things on white in another brightness or contrast: edges fit less well, details do."""
OVERLAID = Limits(odd=0.13, torn=0.42, exchanged=0.05, texture=0.55, core=0.99)
WRITTEN_ON, TEARS = Limits(odd=0.13, torn=0.42, exchanged=0.05, texture=0.55, core=0.97), 0.1
"""Of things on white of which a part is hidden and the rest as it was: two alike agree less, but
are not torn either."""
ODD_OF_THING = 0.002
"""So much more may be odd the more of the picture the thing fills."""
MOST_REST, MOST_REST_OF_RANGE = 8.0, 0.15
"""Gray levels that a change of tone may leave in the middle, and of the spread of the grays."""
PLAIN_AT_ALL = 0.15
"""Pictures without so much of one gray stand on no ground."""
TURNED = 1.8
"""Degrees by which a hand turns a camera between two frames, at most."""
FILLED = 0.35
"""Corners are small: of so much of them that is of one gray, they were filled."""


def kind(one: Facts, other: Facts, seen: Seen | None) -> Kind:
    """Return what two pictures are to each other.

    Parameters
    ----------
    one, other : Facts
    seen : Seen or None
        None when nobody looked: then only copies are told from what is similar.
    """
    if is_copy(one, other):
        return "identical" if _same(one.content_hash, other.content_hash) else "same-pixels"
    if seen is None:
        return "similar"
    apart = exposures_apart(one, other)
    if not looks_edited(seen):
        return "same-scene" if _one_scene(one, other, seen, apart) else "similar"
    if apart is None:
        layout = layouts.layout(seen.map, one.upright, other.upright)
        return "same-scene" if shifted(layout, one, other, seen) else "edited"
    return "same-scene" if apart else "edited"


def is_copy(one: Facts, other: Facts) -> bool:
    """Say whether bytes or pixels are the same: then nobody need look."""
    return _same(one.content_hash, other.content_hash) or _same(one.pixel_hash, other.pixel_hash)


def looks_edited(seen: Seen) -> bool:
    """Say whether one change of tone and colour, and something laid over, explain all.

    An edit need be explained from one side only: of a gray picture nobody can tell which colours it
    had, nor what was below a caption.
    """
    sides = [each for each in (seen, seen.back) if each is not None]
    return any(map(_fits, sides)) and keeps_colours(sides)


def doubtful(seen: Seen) -> bool:
    """Say whether a look from the other side may change what two pictures are to each other."""
    thing = seen.ground >= LIGHT and seen.plain >= PLAIN_AT_ALL and not lined(seen)
    return thing or not looks_edited(seen)


def _fits(seen: Seen) -> bool:
    """Say whether one change of tone, and something laid over, explain all, seen from one side."""
    if seen.rest > MOST_REST + MOST_REST_OF_RANGE * seen.range:
        return False
    writing = max(_between(seen.lines, LINES), _between(seen.fineness, FINENESS))
    light = seen.ground >= LIGHT
    plain = _between(seen.plain, PLAIN)
    if _limits(seen, writing, plain if light else plain * writing / 2).hold(seen):
        return True
    exact = seen.texture >= 0.97 and seen.torn <= 0.003
    exact = exact and seen.odd <= 0.03 * (1 - seen.plain)
    return exact or _laid_over(seen) or (writing < 0.5 and _hidden(seen))


def _limits(seen: Seen, writing: float, plain: float) -> Limits:
    """Return how much may differ, from how much two look like writing, or are plain."""
    thing = TONED if changed(seen) and lies_alike(seen) else THING
    thing = replace(thing, odd=thing.odd + ODD_OF_THING * (0.95 - seen.white))
    return PHOTO.towards(thing.towards(WRITING, writing), plain)


def _hidden(seen: Seen) -> bool:
    """Say whether something hides a part of a thing and leaves the rest as it was."""
    if not (unchanged(seen) and lies_alike(seen)):
        return False
    return OVERLAID.hold(seen) or (seen.torn > TEARS and WRITTEN_ON.hold(seen))


def _between(value: float, bounds: tuple[float, float]) -> float:
    """Return where a value lies between two: 0 below, 1 above."""
    low, high = bounds
    return min(1.0, max(0.0, (value - low) / (high - low)))


def unchanged(seen: Seen) -> bool:
    """Say whether tone and colours are as they were, where nothing was laid over."""
    coloured = min(seen.chroma) > 2
    turned = coloured and (abs(seen.hue) > 8 or not 0.8 < seen.saturation < 1.2)
    return not changed(seen) and not turned


def changed(seen: Seen) -> bool:
    """Say whether brightness or contrast is another."""
    return abs(seen.brightness - 1) > 0.05 or abs(seen.contrast - 1) > 0.1


def _laid_over(seen: Seen) -> bool:
    """Say whether all that differs is one compact place, with its detail in one of the two."""
    y0, y1, x0, x1 = seen.box
    area = (y1 - y0) * (x1 - x0)
    most = 0.15 if y0 < 0.15 or y1 > 0.85 else 0.06
    compact = area <= most and seen.odd >= 0.25 * area and seen.scattered <= 0.003
    rest = (seen.core >= 0.985 or area == 0) and seen.texture >= 0.75
    return compact and rest and seen.exchanged <= 0.03 and seen.torn <= 0.2


def shifted(layout: Layout, one: Facts, other: Facts, seen: Seen) -> bool:
    """Say whether both show what the other lacks at one scale, as two frames of a burst do.

    Where details moved, or a hand did, the scale is known less well. Corners filled with one gray
    as a picture was turned show nothing.
    """
    sizes = sorted(one.upright), sorted(other.upright)
    more, less = (max(layouts.margins(each)) for each in (seen.map, layouts.inverse(seen.map)))
    return (
        sizes[0] == sizes[1]
        and min(more, less) > SHIFTED
        and abs(layout.scale - 1) < (0.04 if seen.texture > 0.85 else 0.12)
        and (abs(layout.angle) < TURNED or max(seen.rings) < FILLED)
    )


def exposures_apart(one: Facts, other: Facts) -> bool | None:
    """Say whether EXIF tells two exposures; False: it tells one; None: it does not tell.

    Two exposures: other cameras, other times, other parts of a second, other settings, or, of one
    camera and second, other file numbers. Copies in another time zone are one exposure.
    """
    if one.camera and other.camera and one.camera != other.camera:
        return True
    if not one.taken or not other.taken or one.camera != other.camera:
        return None
    if one.taken != other.taken:
        return None if one.taken[13:] == other.taken[13:] else True
    if one.subsecond and other.subsecond:
        return one.subsecond.rstrip("0") != other.subsecond.rstrip("0")
    settings = one.exposure and other.exposure and one.exposure != other.exposure
    return True if settings or _numbered_apart(one, other) else None


def _numbered_apart(one: Facts, other: Facts) -> bool:
    """Say whether files of one camera and second have other numbers."""
    first, second = _number(one.path), _number(other.path)
    if not one.camera or first is None or second is None:
        return False
    return first[0] == second[0] and first != second


def _one_scene(one: Facts, other: Facts, seen: Seen, apart: bool | None) -> bool:
    """Say whether two pictures that are no edits of each other show one scene.

    Of one camera within a minute they do, whatever moved; else their detail must agree somewhat. By
    the looks alone nothing is said of what is plain: papers and products are alike.
    """
    if apart is False:
        return False
    if apart:
        seconds = wording.seconds_between(one, other)
        if one.camera == other.camera and seconds is not None and abs(seconds) <= 60:
            return True
        return seen.texture > 0.55 and seen.agreement > 0.4
    return seen.plain < PLAIN[0] and seen.texture > 0.4 and seen.agreement > 0.45


def explain(one: Facts, other: Facts, seen: Seen | None) -> Explanation:
    """Say what the second of two pictures is to the first, and what differs."""
    found = kind(one, other, seen)
    changes = tuple(wording.changes(found, one, other, seen))
    lies = None if seen is None else seen.map
    return Explanation(found, changes, wording.words(changes), lies)


def _same(one: bytes, other: bytes) -> bool:
    return one == other and any(one)


_NUMBERED = re.compile(rb"(.*\D)(\d{4,5})\.[^.]*")


def _number(path: bytes) -> tuple[bytes, bytes] | None:
    """Return prefix and number of a name such as IMG_1234.JPG, else None."""
    found = _NUMBERED.fullmatch(path.rpartition(b"/")[2])
    return (found[1], found[2]) if found else None
