"""Which of some matching pictures have something laid over them, or a frame around them.

Writing, a logo or a frame make a file larger, and no better. What a match says differs between two
("overlaid", "framed") does not say on which side it is: here it is looked for in the stored grays.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx import fingerprints
from annidx.asking import Filter
from annidx.descriptors import FINGERPRINT, GRAY64
from annidx.fingerprints import Floats
from annidx.found import Pair
from annidx.index import Index
from annidx.model import Record
from annidx.review.pictures import Picture
from annidx.search import alignment

OVERLAID, FRAMED = "has nothing laid over it", "has no frame around it"

MOST = 40
"""Pictures of a group that are compared, the largest files; more make too many pairs."""
MORE_DETAIL = 1.25
"""What was laid over has so much more detail than what it hides, each by the rest of its picture:
writing on the shipped pictures has 1.37 to 4.2 times as much."""
HIDDEN = 0.3
"""Where there is less detail inside of a place than around it by so much, a bar hides it, or it is
clipped: then what has more detail there is no addition."""
LEAST_SHARE = 0.25
"""A clean picture that has less than this of the pixels is no better than one with writing."""
EDGE = 0.015
"""Of a side: a view that begins closer to the edge leaves nothing free there."""


def marked(index: Index, numbers: Sequence[int], pictures: Sequence[Picture]) -> list[Picture]:
    """Return some matching pictures in their order, each with what the clean ones lack.

    Parameters
    ----------
    index : Index
    numbers : sequence of int
        The number of each in the index.
    pictures : Sequence of Picture

    Returns
    -------
    list of Picture
        With `added` where it is seen in most matches of a picture.
    """
    if not {FINGERPRINT.name, GRAY64.name} <= set(index.manifest.descriptors):
        return list(pictures)
    largest = sorted(range(len(pictures)), key=lambda at: -pictures[at].size)[:MOST]
    records = index.pictures_of([numbers[at] for at in largest])
    known = {pictures[at].path: each for at, each in zip(largest, records, strict=True)}
    said: dict[bytes, list[str]] = {each.path: [] for each in pictures}
    for pair in _pairs(index, list(known)):
        one, other = known[pair.raw_a], known[pair.raw_b]
        told = _added(pair, one, other)
        for path, (mine, yours), words in zip(
            (pair.raw_a, pair.raw_b), ((one, other), (other, one)), told, strict=True
        ):
            if _pixels(yours) >= LEAST_SHARE * _pixels(mine):
                said[path].append(words)
    return [replace(each, added=_most(said[each.path])) for each in pictures]


def _pairs(index: Index, paths: Sequence[bytes]) -> Iterator[Pair]:
    """Yield the matches among some pictures, with what differs."""
    where = Filter(paths=[glob.escape(os.fsdecode(each)) for each in paths])
    options: dict[str, Any] = {"where": where, "companions": True, "decided": True}
    for pair in index.find_pairs(metric=FINGERPRINT.name, **options):
        if pair.explanation is not None:
            yield pair


def _pixels(record: Record) -> int:
    return record.width * record.height


def _most(said: Sequence[str]) -> str:
    """Return what is said in most cases; empty when nothing is."""
    found = [each for each in said if each]
    return found[0] if len(found) * 2 > len(said) else ""


def _added(pair: Pair, one: Record, other: Record) -> tuple[str, str]:
    """Return what each picture of a pair has that the other has not; empty when nothing is sure."""
    assert pair.explanation is not None
    changes = {each["what"]: each for each in pair.explanation.changes}
    framed = [_has_frame(each.descriptors[FINGERPRINT.name]) for each in (one, other)]
    if "frame removed" in changes or framed == [True, False]:
        return FRAMED, ""
    if "framed" in changes or framed == [False, True]:
        return "", FRAMED
    if "overlaid" not in changes or pair.explanation.map is None:
        return "", ""
    grays = [_gray(each.descriptors[GRAY64.name]) for each in (one, other)]
    places = np.asarray(pair.explanation.map, np.float32).reshape(1, 2, 3)
    side = side_of(grays[0], grays[1], places, changes["overlaid"]["box"])
    return OVERLAID if side == 1 else "", OVERLAID if side == 2 else ""


def _has_frame(stored: bytes) -> bool:
    """Tell whether a view inside of a picture leaves something free on all four sides."""
    prints = np.frombuffer(stored, np.uint8)[None]
    regions = fingerprints.regions_of(prints)[0]
    low = regions[:, :, 2]
    high = low + np.abs(regions[:, :, :2]).sum(axis=2)
    free = (low > EDGE).all(axis=1) & (high < 1 - EDGE).all(axis=1)
    return bool((free & fingerprints.present(prints)[0, : len(regions)]).any())


def _gray(stored: bytes) -> Floats:
    side = fingerprints.GRAY_SIDE
    return np.frombuffer(stored, np.uint8).reshape(side, side).astype(np.float32)


def side_of(
    one: Floats, other: Floats, places: Floats, box: tuple[float, float, float, float]
) -> int:
    """Return on which of two grays something was laid, 1 or 2; 0 when neither is sure.

    Parameters
    ----------
    one, other : (64, 64) float32
        Gray levels.
    places : (1, 2, 3) float32
        Points of the first (y, x in 0..1) to points of the second.
    box : x0, y0, x1, y1
        Where they differ, in 0..1 of the first.
    """
    laid, known = alignment.read(other[None], places, fingerprints.GRAY_SIDE)
    there = known[0] > 0
    inside, near = (_within(box, more) & there for more in (0.5, 2.5))
    around, rest = near & ~inside, there & ~near
    if not (inside.any() and around.any() and rest.any()):
        return 0
    detail = [_detail(each) for each in (one, laid[0])]
    shares = [each[inside].mean() / (each[rest].mean() + 0.1) for each in detail]
    more = 0 if shares[0] > shares[1] else 1
    less = detail[1 - more]
    is_hidden = less[inside].mean() < HIDDEN * less[around].mean()
    return 0 if is_hidden or shares[more] < MORE_DETAIL * shares[1 - more] else more + 1


def _within(box: tuple[float, float, float, float], more: float) -> npt.NDArray[np.bool_]:
    """Return which cells lie in a box, or so many cells around it, (64, 64) bool."""
    at = np.arange(fingerprints.GRAY_SIDE) + 0.5
    x0, y0, x1, y1 = (edge * fingerprints.GRAY_SIDE for edge in box)
    rows, columns = (at > y0 - more) & (at < y1 + more), (at > x0 - more) & (at < x1 + more)
    return np.outer(rows, columns)


def _detail(gray: Floats) -> Floats:
    down, across = np.gradient(gray)
    return np.asarray(np.hypot(down, across), np.float32)
