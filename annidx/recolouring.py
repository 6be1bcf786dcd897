"""Whether the colour of a thing has changed, rather than that of the picture it is in.

Two colours of one product are no edits of each other; a picture that was tinted, faded or grayed
is. By the numbers of a look at both, one pair at a time, without numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

from annidx import layouts
from annidx.kinds import Seen

MOST_HUE = 48.0
"""Degrees: no filter turns hues further, other colours of a product do."""
WHITE, WHITE_CHANGE, OBJECT_CHANGE = 0.25, 5.0, 5.0
MOST_HUE_ALONE, MOST_HUE_TONED, MOST_TINT, UNEXPLAINED = 38.0, 18.0, 3.0, 8.0
"""Degrees by which an edit turns hues of a thing on white that stays white: alone (filters by 35),
and with a change of tone (16); levels that are added to its colours then; and levels by which it
changes when neither tone nor colours do."""
A_LITTLE_BRIGHTER = 100.0
"""Levels that a thing changes by when it becomes twice as bright: so a little is explained."""
GRAY, COVERED = 0.1, 0.005
"""Strength of colour, against that of the other, below which one of two is gray; and share of the
picture by which it has less white where something was laid over that."""
STRONGER, STRONGER_TONED = (0.5, 2.1), (0.62, 1.6)
"""By how much colours of a thing on white may grow stronger: alone, and with a change of tone."""
SHIFTED = 0.004
"""Two frames of a burst both show so much (of a side) that the other lacks."""


def keeps_colours(sides: Sequence[Seen]) -> bool:
    """Say whether no colour of a thing has changed, seen from the side that can tell.

    Of things on white that is the one with more colour, where the other is gray, or with more
    white, over which something was laid in the other; else both have to agree.
    """
    kept = [lined(each) or not recoloured(each) for each in sides]
    white = [each.white for each in sides]
    if len(sides) == 1 or max(white) < WHITE:
        return any(kept)
    first, second = sides[0].chroma
    if min(first, second) < GRAY * max(first, second):
        return kept[first < second]
    if abs(white[0] - white[1]) > COVERED:
        return kept[white[0] < white[1]]
    return all(kept)


def lined(seen: Seen) -> bool:
    """Say whether it is writing for sure: its colours are little but noise."""
    return seen.lines >= 4 or seen.fineness >= 1.8


def recoloured(seen: Seen) -> bool:
    """Say whether the colour of a thing may have changed, rather than that of the picture.

    Hues turn far; or a light ground stays as it is while what stands on it changes.
    """
    thing = max(0.05, 1 - seen.white)
    before, after = (each / thing for each in seen.chroma)
    weaker = min(before, after)
    sure = (weaker > 5 and seen.saturation > 0.15) or (weaker > 2.5 and seen.saturation > 0.55)
    turned = abs(seen.hue) if sure else 0.0  # the hue of what is nearly gray is noise
    if turned > MOST_HUE:
        return True
    if seen.white < WHITE or seen.white_change > WHITE_CHANGE:
        return False
    stronger = (after + 1.5) / (before + 1.5) / seen.brightness
    toned = abs(seen.brightness - 1) > 0.06 or abs(seen.contrast - 1) > 0.12
    off = seen.off_colour > 0.2 * thing + 2 * seen.odd and seen.object_change > 1.4
    if off or (not toned and weaker > 0.3 * max(before, after) and _in_part(seen)):
        return True
    if seen.object_change < OBJECT_CHANGE or _grayed(seen):
        return False
    low, high = STRONGER_TONED if toned else STRONGER
    faded = max(before, after) > 2.5 and not low < stronger < high
    hued = 0.75 < stronger < 1.2 and 0.9 < seen.brightness < 1.1 and 0.8 < seen.contrast < 1.25
    hued = hued and max(map(abs, seen.tint)) < MOST_TINT * thing
    far = turned > (MOST_HUE_ALONE if hued else MOST_HUE_TONED)
    # What nothing explains that happened to all of it, happened to the thing.
    most = UNEXPLAINED if lies_alike(seen) else UNEXPLAINED + 4
    most += A_LITTLE_BRIGHTER * abs(seen.brightness - 1)
    unexplained = not toned and turned < 12 and 0.7 < stronger < 1.3 and seen.object_change > most
    return unexplained or faded or far or not 0.62 < seen.brightness < 1.6


def _in_part(seen: Seen) -> bool:
    """Say whether some place has another colour, with no detail laid over it."""
    return seen.far_off > 1.5 and seen.torn < 0.015 and seen.odd < 0.03


def _grayed(seen: Seen) -> bool:
    """Say whether all colour is gone and nothing else has changed."""
    same = abs(seen.brightness - 1) < 0.03 and abs(seen.contrast - 1) < 0.04 and seen.rest < 1
    return same and min(seen.chroma) < 0.1 and seen.odd < 0.004


def lies_alike(seen: Seen) -> bool:
    """Say whether one whole picture lies on the other, at most turned by quarters."""
    return max(abs(each) for each in layouts.margins(seen.map)) < SHIFTED
