"""What two matching pictures are to each other, and what differs: judged and worded.

Measured elsewhere (search/differences.py); here are the rules, one pair at a time, without numpy.
"""

from __future__ import annotations

import re

from annidx import layouts, wording
from annidx.kinds import Explanation, Facts, Kind, Seen
from annidx.layouts import Layout

PLAIN = (0.30, 0.42)
"""Pictures of which so much is of one light gray are taken for writing or for things on
white: what tells two of those apart is small. Papers, chats and slides have .36 and up."""
LIGHT = 150.0
MOST_ODD, MOST_TORN, LEAST_TEXTURE = (0.17, 0.006), (0.42, 0.05), (0.5, 0.86)
"""Of edits; the first of photos, the second of what is plain."""
MOST_EXCHANGED = (0.2, 0.008)
MOST_REST = 6.0
MOST_HUE = 48.0
"""Degrees: no filter turns hues further, other colours of a product do."""
WHITE, WHITE_CHANGE, OBJECT_CHANGE = 0.25, 5.0, 5.0
SHIFTED = 0.004
"""Two frames of a burst both show so much (of a side) that the other lacks."""


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
        return "same-scene" if apart and _related(seen) else "similar"
    if apart is None:
        layout = layouts.layout(seen.map, one.upright, other.upright)
        return "same-scene" if shifted(layout, one, other) else "edited"
    return "same-scene" if apart else "edited"


def is_copy(one: Facts, other: Facts) -> bool:
    """Say whether bytes or pixels are the same: then nobody need look."""
    return _same(one.content_hash, other.content_hash) or _same(one.pixel_hash, other.pixel_hash)


def looks_edited(seen: Seen) -> bool:
    """Say whether one change of tone and colour, and something laid over, explain all."""
    low, high = PLAIN
    strict = min(1.0, max(0.0, (seen.plain - low) / (high - low)))
    if seen.ground < LIGHT:
        strict *= 0.5

    def limit(bounds: tuple[float, float]) -> float:
        return bounds[0] + (bounds[1] - bounds[0]) * strict

    alike = (
        seen.odd <= limit(MOST_ODD)
        and seen.torn <= limit(MOST_TORN)
        and seen.exchanged <= limit(MOST_EXCHANGED)
        and seen.texture >= limit(LEAST_TEXTURE)
    )
    stays = seen.rest <= MOST_REST + 0.12 * seen.range
    exact = seen.texture >= 0.97 and seen.torn <= 0.003
    exact = exact and seen.odd <= 0.06 * (1 - seen.plain)
    return stays and (alike or exact or _laid_over(seen)) and not recoloured(seen)


def _laid_over(seen: Seen) -> bool:
    """Say whether all that differs is one compact place, with its detail in one of the two."""
    y0, y1, x0, x1 = seen.box
    area = (y1 - y0) * (x1 - x0)
    most = 0.15 if y0 < 0.15 or y1 > 0.85 else 0.06
    compact = area <= most and seen.odd >= 0.25 * area and seen.scattered <= 0.003
    return compact and seen.exchanged <= 0.03 and seen.torn <= 0.2 and seen.texture >= 0.75


def recoloured(seen: Seen) -> bool:
    """Say whether the colour of a thing may have changed, rather than that of the picture.

    Hues turn far; or a light ground stays as it is while what stands on it changes.
    """
    thing = max(0.05, 1 - seen.white)
    before, after = (each / thing for each in seen.chroma)
    turned = abs(seen.hue) if min(before, after) > 5 and seen.saturation > 0.25 else 0.0
    if turned > MOST_HUE:
        return True
    if seen.white < WHITE or seen.white_change > WHITE_CHANGE:
        return False
    off = seen.off_colour > 0.07 * thing + 2 * seen.odd
    if off and seen.object_change > 1.4:  # a part of it only
        return True
    if seen.object_change < OBJECT_CHANGE or _grayed(seen):
        return False
    stronger = (after + 1.5) / (before + 1.5) / seen.brightness
    even = abs(seen.brightness - 1) < 0.05 and abs(seen.contrast - 1) < 0.1
    # What nothing explains that happened to all of it, happened to the thing.
    unexplained = even and turned < 12 and 0.7 < stronger < 1.3 and seen.object_change > 7
    faded = max(before, after) > 2.5 and not 0.45 < stronger < 2.2
    return unexplained or faded or turned > 38 or not 0.62 < seen.brightness < 1.6


def _grayed(seen: Seen) -> bool:
    """Say whether all colour is gone and nothing else has changed."""
    same = abs(seen.brightness - 1) < 0.03 and abs(seen.contrast - 1) < 0.04 and seen.rest < 1
    return same and min(seen.chroma) < 0.1 and seen.odd < 0.004


def shifted(layout: Layout, one: Facts, other: Facts) -> bool:
    """Say whether both show what the other lacks at one scale, as two frames of a burst do."""
    sizes = sorted(one.upright), sorted(other.upright)
    more, less = max(layout.margins), -min(layout.margins)
    return (
        sizes[0] == sizes[1]
        and min(more, less) > SHIFTED
        and abs(layout.scale - 1) < 0.04
        and not layout.mirrored
    )


def exposures_apart(one: Facts, other: Facts) -> bool | None:
    """Say whether EXIF tells two exposures; False: it tells one; None: it does not tell.

    Two exposures: other times within seconds, other parts of a second, other settings, or, of one
    camera and second, other file numbers. Copies in another time zone are one exposure.
    """
    if not one.taken or not other.taken or one.camera != other.camera:
        return None
    if one.taken != other.taken:
        return None if one.taken[13:] == other.taken[13:] else True
    if one.subsecond and other.subsecond:
        return one.subsecond.rstrip("0") != other.subsecond.rstrip("0")
    if one.exposure and other.exposure and one.exposure != other.exposure:
        return True
    if not one.camera:
        return None
    first, second = _number(one.path), _number(other.path)
    return True if first and second and first[0] == second[0] and first != second else None


def _related(seen: Seen) -> bool:
    """Say whether pictures whose EXIF tells two exposures show one scene."""
    return seen.texture > 0.55 and seen.agreement > 0.4


def explain(one: Facts, other: Facts, seen: Seen | None) -> Explanation:
    """Say what the second of two pictures is to the first, and what differs."""
    found = kind(one, other, seen)
    changes = tuple(wording.changes(found, one, other, seen))
    return Explanation(found, changes, wording.words(changes))


def _same(one: bytes, other: bytes) -> bool:
    return one == other and any(one)


_NUMBERED = re.compile(rb"(.*\D)(\d{4,5})\.[^.]*")


def _number(path: bytes) -> tuple[bytes, bytes] | None:
    """Return prefix and number of a name such as IMG_1234.JPG, else None."""
    found = _NUMBERED.fullmatch(path.rpartition(b"/")[2])
    return (found[1], found[2]) if found else None
