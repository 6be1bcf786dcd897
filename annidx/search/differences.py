"""What differs between two pictures that match: geometry, tone, colour, texture, odd places.

Frames were left away to find the pair; here whole pictures are laid on each other again, so that a
crop can be told from a frame. Numbers only: what they are called is decided in explaining.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx import fingerprints, kinds
from annidx.fingerprints import Floats
from annidx.search import alignment, tones
from annidx.search.alignment import Flags, Rows
from annidx.search.colours import Colours, coloured
from annidx.search.overlaying import GRID, Pictures, aligned
from annidx.search.textures import Textures, eroded, softened, softened_to, textures
from annidx.search.tones import Tones, total

TOGETHER = 128

_FRAME_STEP = 8.0
_MIDDLE, _CLIPPED = 127.5, 119.5
"""Where a change of tone leads further from the middle than that, detail is lost."""


@dataclass(frozen=True, slots=True)
class Differences:
    """What differs between the second pictures of some pairs and the first.

    Attributes
    ----------
    maps : (m, 2, 3) float32
        Points of the first picture (y, x in 0..1 of its whole frame) to points of the second.
    agreements : (m,) float32
        Correlation of the two even fields under the map, -1..1.
    odd : (m,) float32
        Share of the overlap whose gray differs by more than a change of tone explains.
    scattered : (m,) float32
        The part of it outside of the box.
    boxes : (m, 4) float32
        Where most of it lies in the first picture: y0, y1, x0, x1 in 0..1; zeros when nowhere.
    rings : (m, 2) float32
        Share of what only the first, only the second shows that is of one gray, as frames are; 0
        when there is too little of it.
    plain : (m,) float32
        Share of the less plain of the two that is of its most frequent gray: writing has much.
    ground : (m,) float32
        That gray.
    lines : (m,) float32
        Into how many lines what is in them is parted, the larger number of two.
    fineness : (m,) float32
        How strong the finest detail is by the contrast, the lesser of two: writing has much.
    details : (m,) float32
        Strength of the finest detail, second by first, the contrast made even.
    texture, tone, colour : Textures, Tones, Colours
    """

    maps: Floats
    agreements: Floats
    odd: Floats
    scattered: Floats
    boxes: Floats
    rings: Floats
    plain: Floats
    ground: Floats
    lines: Floats
    fineness: Floats
    details: Floats
    texture: Textures
    tone: Tones
    colour: Colours


def differences(
    pictures: Pictures, ones: Rows, others: Rows, maps: Floats, contents: Floats
) -> Differences:
    """Lay pairs of pictures on each other and measure what differs.

    Parameters
    ----------
    pictures : Pictures
    ones, others : (m,) intp
        Which of them.
    maps : (m, 2, 3) float32
        Where points of the first's content lie in the second's, as a second look found them.
    contents : (n, 2, 3) float32
        Where the contents lie in the pictures.
    """
    parts = [slice(start, start + TOGETHER) for start in range(0, len(ones), TOGETHER)]
    found = [_differences(pictures, ones[s], others[s], maps[s], contents) for s in parts]
    return joined(found)


def joined(found: Sequence[Differences]) -> Differences:
    """Return the differences of several batches as one."""
    return Differences(
        *(_together([getattr(one, each.name) for one in found]) for each in fields(Differences))
    )


def _together(values: list[Any]) -> Any:
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)
    kind = type(values[0])
    names = [each.name for each in fields(kind)]
    return kind(*(np.concatenate([getattr(one, name) for one in values]) for name in names))


def _differences(
    pictures: Pictures, ones: Rows, others: Rows, maps: Floats, contents: Floats
) -> Differences:
    outer, inner = contents[others], alignment.inverse(contents[ones])
    whole = alignment.composed(outer, alignment.composed(maps, inner))
    whole, agreements = aligned(pictures, ones, others, whole, contents[ones])
    first, second, inside, on_grid = laid(pictures, ones, others, whole)
    detail = tones.details(first, second, inside)
    first, second = softened_to(first, np.reciprocal(detail)), softened_to(second, detail)
    tone, rest, predicted = tones.fitted(first, second, inside)
    clear = inside * ~clipped(first, second, predicted)
    texture = textures(first, second, clear)
    odd, scattered, boxes = places(rest, second, clear, tone)
    colour = colours(pictures, ones, others, whole)
    return Differences(
        whole,
        agreements,
        odd,
        scattered,
        mapped(boxes, on_grid),
        np.stack(
            [
                ring(pictures.levels[ones], whole),
                ring(pictures.levels[others], alignment.inverse(whole)),
            ],
            axis=1,
        ),
        *_plain(pictures, ones, others),
        np.maximum(pictures.lines[ones], pictures.lines[others]),
        np.minimum(pictures.fineness[ones], pictures.fineness[others]),
        detail,
        texture,
        tone,
        colour,
    )


def _plain(pictures: Pictures, ones: Rows, others: Rows) -> tuple[Floats, Floats]:
    """Return how plain the less plain of two is, and its gray: frames and clipping make plain."""
    less = np.where(pictures.plain[ones] <= pictures.plain[others], ones, others)
    return pictures.plain[less], pictures.ground[less]


def laid(
    pictures: Pictures, ones: Rows, others: Rows, whole: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Read both on the grid of the finer one; also where both are known, and the grid itself."""
    swap = np.abs(np.linalg.det(whole[:, :, :2])) > 1.05
    small, large = np.where(swap, others, ones), np.where(swap, ones, others)
    onto = np.where(swap[:, None, None], alignment.inverse(whole), whole)
    x, y = pictures.gridded[small], pictures.gridded[large]
    inside = np.ones_like(x)
    moved = np.flatnonzero((onto != fingerprints.WHOLE).any(axis=(1, 2)))
    if len(moved):
        y[moved], inside[moved] = alignment.read(pictures.levels[large[moved]], onto[moved], GRID)
        x[moved] = softened(x[moved], onto[moved])
        inside[moved] = eroded(inside[moved])
    turn = swap[:, None, None]
    first, second = (x, y) if not swap.any() else (np.where(turn, y, x), np.where(turn, x, y))
    return first, second, eroded(inside), np.where(turn, onto, fingerprints.WHOLE)


def clipped(first: Floats, second: Floats, predicted: Floats) -> Flags:
    """Tell where detail of the first is lost in the second, at the ends of the gray scale."""
    extreme = np.minimum(np.abs(predicted - _MIDDLE), np.abs(second - _MIDDLE) + 6)
    return np.asarray((extreme > _CLIPPED) & (np.abs(first - _MIDDLE) < _CLIPPED - 6))


def places(
    rest: Floats, second: Floats, inside: Floats, tone: Tones
) -> tuple[Floats, Floats, Floats]:
    """Return the share of cells that a change of tone does not explain, and where they are."""
    slope = np.zeros_like(second)
    slope[:, 1:-1, 1:-1] = np.maximum(
        np.abs(second[:, 2:, 1:-1] - second[:, :-2, 1:-1]),
        np.abs(second[:, 1:-1, 2:] - second[:, 1:-1, :-2]),
    )
    limit = 6.0 + 3.0 * tone.rest[:, None, None] + 0.3 * slope
    odd = ((np.abs(rest) > limit) & (inside > 0)).astype(np.float32)
    share = total(odd) / GRID**2
    thirds = fingerprints.averages(GRID // 3, GRID)
    boxes = _boxes(np.asarray(thirds @ odd @ thirds.T > 0.4))
    at = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    rows_, columns = (
        ((at > boxes[:, k, None]) & (at < boxes[:, k + 1, None])).astype(np.float32) for k in (0, 2)
    )
    within = np.einsum("myx,my,mx->m", odd, rows_, columns) / np.maximum(total(odd), 1)
    return np.asarray(share, np.float32), np.asarray(share * (1 - within), np.float32), boxes


def _boxes(blocks: npt.NDArray[np.bool_]) -> Floats:
    """Return the boxes of flags as y0, y1, x0, x1 in 0..1, (m, 4); zeros when there are none."""
    side = blocks.shape[1]
    found = []
    for axis in (2, 1):
        lines = np.asarray(blocks.any(axis=axis))
        found += [lines.argmax(axis=1), side - lines[:, ::-1].argmax(axis=1)]
    boxes = np.stack(found, axis=1) / side
    boxes[~blocks.any(axis=(1, 2))] = 0
    return np.asarray(boxes, np.float32)


def mapped(boxes: Floats, maps: Floats) -> Floats:
    """Return the upright boxes of boxes under maps; zeros stay."""
    corners = np.stack([boxes[:, [0, 0, 1, 1]], boxes[:, [2, 3, 2, 3]]], axis=1)
    moved = maps[:, :, :2] @ corners + maps[:, :, 2:]
    low, high = moved.min(axis=2), moved.max(axis=2)
    found = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
    there = (boxes[:, 1] > boxes[:, 0])[:, None]
    return np.asarray(np.clip(found, 0, 1) * there, np.float32)


def ring(levels: Floats, maps: Floats) -> Floats:
    """Return how much of what lies outside of the other picture is of one gray, (m,)."""
    result = np.zeros(len(maps), np.float32)
    square = np.array([[0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1]], np.float32)
    beyond = np.abs(maps @ square - 0.5).max(axis=(1, 2)) > 0.5 + 1.0 / fingerprints.GRAY_SIDE
    left = np.flatnonzero(beyond)
    if len(left):
        result[left] = _ring(levels[left], maps[left])
    return result


def _ring(levels: Floats, maps: Floats) -> Floats:
    y, x = fingerprints.positions(maps, fingerprints.GRAY_SIDE)
    edge = 0.7 / fingerprints.GRAY_SIDE
    outside = (y < -edge) | (y > 1 + edge) | (x < -edge) | (x > 1 + edge)
    flat = np.where(outside, levels, np.inf).reshape(len(levels), -1)
    count = outside.sum(axis=(1, 2))
    middle = np.take_along_axis(np.sort(flat, axis=1), (count // 2)[:, None], axis=1)
    middle = np.where(np.isfinite(middle), middle, 0)
    alike = (np.abs(flat - middle) <= _FRAME_STEP).sum(axis=1) / np.maximum(count, 1)
    return np.asarray(np.where(count < 30, 0.0, alike), np.float32)


def colours(pictures: Pictures, ones: Rows, others: Rows, maps: Floats) -> Colours:
    """Compare the thumbs of pairs, averaged: compression smears colours over some pixels."""
    side = fingerprints.THUMB_SIDE
    second = pictures.thumbs[others]
    inside = np.ones((len(ones), side, side), np.float32)
    moved = np.flatnonzero((maps != fingerprints.WHOLE).any(axis=(1, 2)))
    for k in range(3) if len(moved) else ():
        plane = np.ascontiguousarray(pictures.thumbs[others[moved], ..., k])
        second[moved, ..., k], there = alignment.read(plane, maps[moved], side)
        inside[moved] = eroded(there)
    return coloured(pictures.thumbs[ones], second, inside, pictures.grounds[ones])


def rows(found: Differences) -> Iterator[kinds.Seen]:
    """Yield the differences of pairs one by one, as they are judged and explained."""
    texture, tone, colour = found.texture, found.tone, found.colour
    columns = (
        found.maps.reshape(-1, 6),
        found.agreements,
        texture.agreement,
        texture.core,
        texture.torn,
        texture.exchanged,
        found.odd,
        found.scattered,
        found.boxes,
        found.rings,
        found.plain,
        found.ground,
        found.lines,
        found.fineness,
        tone.brightness,
        tone.contrast,
        tone.rest,
        tone.range,
        tone.light,
        found.details,
        colour.chroma,
        colour.saturation,
        colour.hue,
        colour.tint,
        colour.odd,
        colour.far,
        colour.ground,
        colour.ground_change,
        colour.object_change,
    )
    for row in zip(*(each.tolist() for each in columns), strict=True):
        yield kinds.Seen(*row)
