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
MOST_ODD, MOST_TORN, LEAST_TEXTURE = (0.17, 0.012), (0.42, 0.05), (0.5, 0.86)
"""Of edits; the first of photos, the second of what is plain."""
MOST_EXCHANGED = (0.2, 0.008)
MOST_REST = 6.0
MOST_HUE = 48.0
"""Degrees: no filter turns hues further, other colours of a product do."""
WHITE, WHITE_CHANGE, OBJECT_CHANGE = 0.25, 5.0, 14.0
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
    if _same(one.content_hash, other.content_hash):
        return "identical"
    if _same(one.pixel_hash, other.pixel_hash):
        return "same-pixels"
    if seen is None:
        return "similar"
    apart = exposures_apart(one, other)
    if not looks_edited(seen):
        return "same-scene" if apart and _related(seen) else "similar"
    if apart is None:
        layout = layouts.layout(seen.map, one.upright, other.upright)
        return "same-scene" if shifted(layout, one, other) else "edited"
    return "same-scene" if apart else "edited"


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
        and seen.rest <= MOST_REST + 0.12 * seen.range
    )
    return alike and not recoloured(seen)


def recoloured(seen: Seen) -> bool:
    """Say whether the colour of a thing may have changed, rather than that of the picture.

    Hues turn far; or a light ground stays as it is while what stands on it changes.
    """
    coloured = min(seen.chroma) > 6 and seen.saturation > 0.25 and seen.contrast > 0
    if coloured and abs(seen.hue) > MOST_HUE:
        return True
    stays = seen.white > WHITE and seen.white_change < WHITE_CHANGE
    return stays and seen.object_change > OBJECT_CHANGE


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
