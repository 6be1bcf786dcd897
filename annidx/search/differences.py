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
from annidx.search.alignment import Rows
from annidx.search.colours import Colours, coloured
from annidx.search.overlaying import Pictures, aligned
from annidx.search.tones import Tones

GRID, BLOCK = 48, 6
"""Aligned pictures are compared on a 48 x 48 grid, in 8 x 8 blocks of 6 x 6."""
TOGETHER = 128

_HIGH_PASS = 2.0
_SOFTENING = 1.0
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
    textures : (m,) float32
        How well the fine detail agrees, block by block, weighted by detail: -1..1.
    torn : (m,) float32
        Share of the blocks with detail in which it does not agree.
    exchanged : (m,) float32
        The lesser of two parts of it: where the first has more detail, where the second has. What
        was laid over one of two has its detail in that one.
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
    details : (m,) float32
        Strength of the finest detail, second by first, the contrast made even.
    tone, colour : Tones, Colours
    """

    maps: Floats
    agreements: Floats
    textures: Floats
    torn: Floats
    exchanged: Floats
    odd: Floats
    scattered: Floats
    boxes: Floats
    rings: Floats
    plain: Floats
    ground: Floats
    details: Floats
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
    # The finer of the two is read on its own grid, the other one where it lies there.
    swap = np.abs(np.linalg.det(whole[:, :, :2])) > 1.05
    small, large = np.where(swap, others, ones), np.where(swap, ones, others)
    onto = np.where(swap[:, None, None], alignment.inverse(whole), whole)
    itself = np.ascontiguousarray(np.broadcast_to(fingerprints.WHOLE, onto.shape))
    x, _ = alignment.read(pictures.levels[small], itself, GRID)
    y, inside = alignment.read(pictures.levels[large], onto, GRID)
    inside = eroded(inside)
    first, second = (
        np.where(swap[:, None, None], *each)
        for each in ((y, softened(x, onto)), (softened(x, onto), y))
    )
    detail = tones.details(first, second, inside)
    first, second = softened_to(first, np.reciprocal(detail)), softened_to(second, detail)
    tone, rest, predicted = tones.fitted(first, second, inside)
    extreme = np.minimum(np.abs(predicted - _MIDDLE), np.abs(second - _MIDDLE) + 6)
    clipped = (extreme > _CLIPPED) & (np.abs(first - _MIDDLE) < _CLIPPED - 6)
    clear = inside * ~clipped
    texture, torn, exchanged = textures(first, second, clear)
    odd, scattered, boxes = places(rest, second, clear, tone)
    colour = colours(pictures, ones, others, whole)
    on_grid = np.where(swap[:, None, None], onto, itself)
    return Differences(
        whole,
        agreements,
        texture,
        torn,
        exchanged,
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
        detail,
        tone,
        colour,
    )


def _plain(pictures: Pictures, ones: Rows, others: Rows) -> tuple[Floats, Floats]:
    """Return how plain the less plain of two is, and its gray: frames and clipping make plain."""
    less = np.where(pictures.plain[ones] <= pictures.plain[others], ones, others)
    return pictures.plain[less], pictures.ground[less]


def eroded(inside: Floats) -> Floats:
    """Leave away the cells at the edge of an overlap: frames bleed into them."""
    result = inside.copy()
    result[:, 1:] *= inside[:, :-1]
    result[:, :-1] *= inside[:, 1:]
    result[:, :, 1:] *= inside[:, :, :-1]
    result[:, :, :-1] *= inside[:, :, 1:]
    result[:, [0, -1]] = result[:, :, [0, -1]] = 0
    return result


def softened(grays: Floats, maps: Floats) -> Floats:
    """Blur what is read more finely than its partner, whose pixels are larger there."""
    scale = np.sqrt(np.abs(np.linalg.det(maps[:, :, :2])))
    result = grays
    for low, high, sigma in ((0.65, 0.85, 0.5), (0.45, 0.65, 0.9), (0.0, 0.45, 1.5)):
        which = (scale > low) & (scale <= high)
        if which.any():
            result = result if result is not grays else grays.copy()
            result[which] = alignment.blurred(grays[which], sigma)
    return result


def softened_to(grays: Floats, detail: Floats) -> Floats:
    """Blur what is much sharper, or noisier, than its partner."""
    result = grays
    for low, high, sigma in ((1.35, 1.8, 0.6), (1.8, 3.0, 0.9), (3.0, np.inf, 1.4)):
        which = (detail > low) & (detail <= high)
        if which.any():
            result = result if result is not grays else grays.copy()
            result[which] = alignment.blurred(grays[which], sigma)
    return result


def high_pass(grays: Floats, inside: Floats) -> Floats:
    """Return what is finer than some cells; what lies outside does not count."""
    around = alignment.blurred(grays * inside, _HIGH_PASS)
    share = alignment.blurred(inside, _HIGH_PASS)
    return np.asarray((grays - around / np.maximum(share, 0.02)) * inside, np.float32)


def textures(first: Floats, second: Floats, inside: Floats) -> tuple[Floats, Floats, Floats]:
    """Return how well fine detail agrees, the share that does not, and that in both ways, (m,)."""
    one, other = high_pass(first, inside), high_pass(second, inside)
    both, ones, others = (_blocks(each) for each in (one * other, one * one, other * other))
    cells = BLOCK * BLOCK
    agree = both / np.sqrt((ones + _SOFTENING * cells) * (others + _SOFTENING * cells))
    energy = np.sqrt(np.maximum(ones, others) / cells)
    weights = np.minimum(energy, 8.0) * (_blocks(inside) > cells / 2) * (energy > 1.0)
    total = np.maximum(weights.sum(axis=1), 1e-6)
    torn = weights * (agree < 0.5)
    less, more = ((torn * way).sum(axis=1) for way in (ones > others, ones <= others))
    found = ((weights * agree).sum(axis=1), torn.sum(axis=1), np.minimum(less, more))
    one_, two, three = (np.asarray(each / total, np.float32) for each in found)
    return one_, two, three


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
    share = odd.mean(axis=(1, 2))
    counts = odd.reshape(len(odd), GRID // 3, 3, GRID // 3, 3).sum(axis=(2, 4))
    boxes = _boxes(np.asarray(counts >= 4))
    at = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    rows_, columns = (
        ((at > boxes[:, k, None]) & (at < boxes[:, k + 1, None])).astype(np.float32) for k in (0, 2)
    )
    within = np.einsum("myx,my,mx->m", odd, rows_, columns) / np.maximum(odd.sum(axis=(1, 2)), 1)
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
    """Compare the thumbs of pairs."""
    side = fingerprints.THUMB_SIDE
    planes = [pictures.thumbs[which].astype(np.float32) for which in (ones, others)]
    there = [alignment.read(np.ascontiguousarray(planes[1][..., k]), maps, side) for k in range(3)]
    second = np.stack([each for each, _ in there], axis=3)
    shape = (len(ones), side * side)
    return coloured(
        planes[0].reshape(*shape, 3), second.reshape(*shape, 3), there[0][1].reshape(shape)
    )


def _blocks(cells: Floats) -> Floats:
    """Sum cells by blocks, (m, 64) float32."""
    sums = fingerprints.averages(GRID // BLOCK, GRID)
    return np.asarray((sums @ cells @ sums.T).reshape(len(cells), -1) * BLOCK**2, np.float32)


def rows(found: Differences) -> Iterator[kinds.Seen]:
    """Yield the differences of pairs one by one, as they are judged and explained."""
    tone, colour = found.tone, found.colour
    columns = (
        found.maps.reshape(-1, 6),
        found.agreements,
        found.textures,
        found.torn,
        found.exchanged,
        found.odd,
        found.scattered,
        found.boxes,
        found.rings,
        found.plain,
        found.ground,
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
        colour.ground,
        colour.ground_change,
        colour.object_change,
    )
    for row in zip(*(each.tolist() for each in columns), strict=True):
        yield kinds.Seen(*row)
