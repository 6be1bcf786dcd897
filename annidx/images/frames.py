"""Where the picture proper lies within frames: borders, letterboxes, caption bars, windows.

Found on a small gray, by lines of pixels that are quiet from end to end. What is found in a framed
picture is what is found in the picture without its frame, so the two may be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Gray = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Region = npt.NDArray[np.float32]
Quiet = npt.NDArray[np.bool_]
Steps = npt.NDArray[np.float32]
_Ends = Callable[[Quiet, int, int], tuple[int, int]]

QUIET_STEP = 4
"""Neighbouring pixels that differ by no more of 255 are quiet."""
QUIET_SHARE = 0.97
"""A line counts as quiet when so many of its steps are: compression and dust are loud at times."""
REACH = 0.4
"""Caption bars and windows reach no deeper than this share of the picture from each side."""
LEAST = 0.3
"""What is left must be this share of each side at least, else nothing was a frame."""
MOVED = 0.015
"""Regions whose edges lie closer than this share of the picture are one."""

FILL_STEP = 10
"""Corners filled when a picture was turned: so little do their pixels differ from the corner's."""
ON_EDGE = 0.6
"""A tilted picture's outline lies on the edges of a rectangle: this share of it at least."""
LEAST_TILT, MOST_TILT = 1.0, 44.0
_SEARCH = ((MOST_TILT, 4.0, 4), (4.0, 0.5, 2), (0.5, 0.1, 1))
"""Degrees about the best so far, steps, and which of the outline's points: about a rectangle's own
angle the area has one valley, some 45 degrees wide on either side."""


_SQUARE = np.array([[0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1]], np.float64)


class Box(NamedTuple):
    """Edges in pixels: top, bottom, left, right; bottom and right are exclusive."""

    top: int
    bottom: int
    left: int
    right: int


def regions(gray: Gray) -> list[Region]:
    """Return what may be the picture proper, as affine maps of a unit square, (2, 3) float32 each.

    At most two, none of them the whole:

    1. what is left when quiet lines are taken off all four sides: plain borders and letterboxes;
    2. a picture that was tilted on a plain ground; else what is left behind the innermost quiet
       line within `REACH` of each side: bars with captions, windows with furniture.

    Parameters
    ----------
    gray : (h, w) uint8
        Luma, its longer side some 160 pixels.
    """
    height, width = gray.shape
    if min(height, width) < 16:
        return []
    across, down = _quiet(gray)
    whole = Box(0, height, 0, width)
    plain = _trimmed(across, down, _outer)
    found = [_region(plain, gray.shape)]
    tilted = _tilted(gray[plain.top : plain.bottom, plain.left : plain.right])
    if tilted is not None:
        found.append(_within(found[0], tilted))
    else:
        found.append(_region(_trimmed(across, down, _inner), gray.shape))
    kept, corners = [], [_corners(_region(whole, gray.shape))]
    for each in found:
        own = _corners(each)
        if all(np.abs(own - other).max() > MOVED for other in corners):
            kept.append(each)
            corners.append(own)
    return kept


def _quiet(gray: Gray) -> tuple[Steps, Steps]:
    """Return 1 for steps to the right, (h, w - 1), and down, (h - 1, w), that are quiet.

    As floats, since sums over lines are products with a vector then, in a tenth of the time.
    """
    across = _is_quiet(gray[:, 1:], gray[:, :-1])
    down = _is_quiet(gray[1:], gray[:-1])
    return across, down


def _is_quiet(one: Gray, other: Gray) -> Steps:
    apart = np.maximum(one, other) - np.minimum(one, other)
    return (apart <= QUIET_STEP).astype(np.float32)


def _trimmed(across: Steps, down: Steps, ends: _Ends) -> Box:
    """Take quiet lines off; rows first, then columns of what is left, and once more."""
    height, width = len(across), down.shape[1]
    box = whole = Box(0, height, 0, width)
    for _ in range(2):
        before = box
        top, bottom = ends(_lines(across, box.left, box.right), box.top, box.bottom)
        left, right = ends(_lines(down.T, top, bottom), box.left, box.right)
        box = Box(top, bottom, left, right)
        if bottom - top < LEAST * height or right - left < LEAST * width:
            return whole
        if box == before:
            break
    return box


def _lines(quiet: Steps, first: int, last: int) -> Quiet:
    """Tell which lines are quiet between two columns."""
    part = quiet[:, first : max(last - 1, first + 1)]
    count = part.shape[1]
    return np.asarray(part @ _ones(count) >= QUIET_SHARE * count)


@cache
def _ones(count: int) -> Steps:
    return np.ones(count, np.float32)


def _outer(quiet: Quiet, first: int, last: int) -> tuple[int, int]:
    """Return what is left of first..last without the quiet lines at its ends."""
    loud = np.flatnonzero(~quiet[first:last])
    return (first + int(loud[0]), first + int(loud[-1]) + 1) if len(loud) else (first, last)


def _inner(quiet: Quiet, first: int, last: int) -> tuple[int, int]:
    """Return what lies between the innermost quiet lines within `REACH` of the ends."""
    reach = int((last - first) * REACH)
    before = np.flatnonzero(quiet[first : first + reach])
    behind = np.flatnonzero(quiet[last - reach : last])
    begin = first + int(before[-1]) + 1 if len(before) else first
    return begin, last - reach + int(behind[0]) if len(behind) else last


def _tilted(gray: Gray) -> Region | None:
    """Return the region of a picture that lies tilted on a plain ground, None when there is none.

    Its outline is the first and last pixel off the ground in each row and column. Among rectangles
    that hold it, the smallest is taken, if most of the outline lies on its edges.
    """
    height, width = gray.shape
    corners = gray[[0, 0, -1, -1], [0, -1, 0, -1]].astype(np.int16)
    if min(height, width) < 16 or np.ptp(corners) > FILL_STEP:
        return None
    off = np.abs(gray.astype(np.int16) - int(np.median(corners))) > FILL_STEP
    if not (off[0].any() and off[-1].any() and off[:, 0].any() and off[:, -1].any()):
        return None
    outline = _outline(off)
    if len(outline) < 32:
        return None
    angle = 0.0
    for reach, step, every in _SEARCH:
        angles = angle + np.radians(np.arange(-reach, reach + step / 2, step))
        angle = float(angles[np.argmin(_area(outline[::every], angles))])
    along, low, high = _spans(outline, np.array([angle]))
    from_edges = np.minimum(along - low, high - along).min(axis=0)[:, 0]
    if abs(np.degrees(angle)) < LEAST_TILT or (from_edges <= 1.5).mean() < ON_EDGE:
        return None
    return _rectangle(angle, low[:, 0, 0] + 0.5, high[:, 0, 0] - 0.5, gray.shape)


def _outline(off: Quiet) -> Floats:
    """Return the first and last pixel of each row and column that has any, (m, 2), as (y, x)."""
    points = []
    for lines, is_row in ((off, True), (off.T, False)):
        which = np.flatnonzero(lines.any(axis=1))
        first = lines[which].argmax(axis=1)
        last = lines.shape[1] - 1 - lines[which][:, ::-1].argmax(axis=1)
        for found in (first, last):
            points.append(np.stack([which, found] if is_row else [found, which], axis=1))
    return np.concatenate(points) + 0.5


def _spans(points: Floats, angles: Floats) -> tuple[Floats, Floats, Floats]:
    """Return points along turned axes, (2, m, a), and the ends there, (2, 1, a) each."""
    cos, sin = np.cos(angles), np.sin(angles)
    y, x = points[:, :1], points[:, 1:]
    along = np.stack([y * cos + x * sin, x * cos - y * sin])
    return along, along.min(axis=1, keepdims=True), along.max(axis=1, keepdims=True)


def _area(points: Floats, angles: Floats) -> Floats:
    _, low, high = _spans(points, angles)
    return np.asarray(np.prod(high - low, axis=0)[0])


def _rectangle(angle: float, low: Floats, high: Floats, shape: tuple[int, ...]) -> Region:
    """Return a tilted rectangle as a region of a picture of `shape`."""
    cos, sin = np.cos(angle), np.sin(angle)
    axes = np.array([[cos, -sin], [sin, cos]])  # (y, x) of the two turned axes
    height, width = shape
    result = np.zeros((2, 3))
    result[:, :2] = axes * (high - low)
    result[:, 2] = axes @ low
    return np.asarray(result / np.array([[height], [width]]), np.float32)


def _region(box: Box, shape: tuple[int, ...]) -> Region:
    height, width = shape
    top, bottom = box.top / height, box.bottom / height
    left, right = box.left / width, box.right / width
    return np.array([[bottom - top, 0, top], [0, right - left, left]], np.float32)


def _within(outer: Region, inner: Region) -> Region:
    """Return a region of a region as a region of the whole."""
    result = outer[:, :2] @ inner
    result[:, 2] += outer[:, 2]
    return np.asarray(result, np.float32)


def _corners(region: Region) -> Floats:
    """Return where the corners of a region lie, (2, 4)."""
    return np.asarray(region @ _SQUARE)
