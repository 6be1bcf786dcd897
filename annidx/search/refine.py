"""A second look at candidate pairs: aligned, and compared where both have structure.

The first stage is a wide net: its vectors stand for whole pictures, and two unrelated pictures in
like frames, or with like composition, lie near. What decides is whether the details agree once the
two are aligned: the correlation of their gradients, block by block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annidx import fingerprints
from annidx.fingerprints import Floats
from annidx.search import alignment
from annidx.search.alignment import Rows
from annidx.search.independence import independent

GRID, BLOCK = 50, 6
"""Pictures are compared on a 50 x 50 grid; its gradients in 8 x 8 blocks of 6 x 6."""
TOGETHER = 128

SURE = 0.93
"""Score from which pictures that lie alike are not aligned any further."""

WORTH = 0.4
"""Score from which on it is told how much a pair holds."""

_LIES_ALIKE = 1e-3
_SMOOTHED = 0.7
_SOFTENING = 4.0  # gray levels a step: a few strong edges shall not decide alone
_STRUCTURED = 1.0  # gradient energy a cell from which on a block has structure


@dataclass(frozen=True, slots=True)
class Looks:
    """What a second look saw of some pairs.

    Attributes
    ----------
    scores : (m,) float32
        How well the details agree, 0..1: the correlation of the gradients over the overlap, below
        0 counted as 0. Of unrelated pairs that score like the best of 10**8, edits keep .957; by
        the root mean square of blocks' correlations .873, by their median .356; beside this score,
        quartiles of these tell unrelated pairs that agree as well from edits no better.
    structures : (m,) float32
        About how many independent values the overlap holds of both: some 50 of a photo, 10 of a
        smooth gradient; 0 where the score is below WORTH, and nobody asks.
    maps : (m, 2, 3) float32
        Points of the first region (y, x in 0..1) to points of the second.
    """

    scores: Floats
    structures: Floats
    maps: Floats

    def at(self, rows: Rows | npt.NDArray[np.bool_]) -> Looks:
        """Return some of them."""
        return Looks(self.scores[rows], self.structures[rows], self.maps[rows])


class Contents:
    """What of some pictures is compared: grays of their contents, frames left away.

    Parameters
    ----------
    grays : (n, 4096) uint8
        Of the whole pictures.
    regions : (n, 2, 3) float32
        Where their contents lie.
    """

    def __init__(self, grays: npt.NDArray[np.uint8], regions: Floats) -> None:
        self._grays, self._regions = grays, regions
        side, count = fingerprints.GRAY_SIDE, len(grays)
        self.coarse = np.empty((count, alignment.COARSE, alignment.COARSE), np.float32)
        # What most pictures never need is made for those that do: see `refine`.
        self._refined = np.zeros(count, np.bool_)
        self.fine = np.empty((count, side, side), np.float32)
        self.smooth = np.empty_like(self.fine)
        self.slopes = np.empty((count, 2, GRID - 2, GRID - 2), np.float32)
        for start in range(0, count, TOGETHER):
            part = np.arange(start, min(start + TOGETHER, count))
            self.coarse[part] = alignment.coarse_fields(self._read(part, alignment.COARSE))

    def _read(self, part: Rows, side: int) -> Floats:
        planes = self._grays[part].reshape(-1, fingerprints.GRAY_SIDE, fingerprints.GRAY_SIDE)
        return fingerprints.read(planes.astype(np.float32), self._regions[part], side)

    def refine(self, which: Rows) -> None:
        """Make the fine fields, smoothed grays and gradients of some pictures."""
        missing = np.unique(which[~self._refined[which]])
        for start in range(0, len(missing), TOGETHER):
            part = missing[start : start + TOGETHER]
            content = self._read(part, fingerprints.GRAY_SIDE)
            smooth = alignment.blurred(content, _SMOOTHED)
            whole = np.ascontiguousarray(np.broadcast_to(fingerprints.WHOLE, (len(part), 2, 3)))
            self.fine[part] = alignment.fine_fields(content)
            self.smooth[part] = smooth
            self.slopes[part] = gradients(fingerprints.sample(smooth, whole, GRID))
        self._refined[missing] = True


def look(contents: Contents, ones: Rows, others: Rows, maps: Floats) -> tuple[Rows, Looks]:
    """Align pairs of contents and compare them.

    Parameters
    ----------
    contents : Contents
    ones, others : (m,) intp
        Which of them.
    maps : (m, 2, 3) float32
        Rough guesses of where points of the first lie in the second.

    Returns
    -------
    (k,) intp
        Pairs that could be aligned at all; the rest have nothing in common.
    Looks
        Of those, (k,).
    """
    every, found = [np.zeros(0, np.intp)], []
    for start in range(0, len(ones), TOGETHER):
        which = np.arange(start, min(start + TOGETHER, len(ones)))
        sure, looks = _unmoved(contents, ones[which], others[which], maps[which])
        every.append(which[sure])
        found.append(looks)
        which = np.delete(which, sure)
        left, looks = _look(contents, ones[which], others[which], maps[which])
        every.append(which[left])
        found.append(looks)
    return np.concatenate(every), together(found)


def _unmoved(contents: Contents, ones: Rows, others: Rows, maps: Floats) -> tuple[Rows, Looks]:
    """Return pairs that agree very well as they lie: most copies do, and need no aligning."""
    alike = np.flatnonzero((np.abs(maps - fingerprints.WHOLE) < _LIES_ALIKE).all(axis=(1, 2)))
    coarse = alignment.template(contents.coarse[ones[alike]], alignment.COARSE_GRID)
    agree = alignment.correlations(coarse, contents.coarse[others[alike]], maps[alike])
    alike = alike[agree >= alignment.AGREED]
    if not len(alike):  # the rest would find nothing, and take a while for it
        return alike, together([])
    first, second = ones[alike], others[alike]
    contents.refine(np.concatenate([first, second]))
    inside = np.ones((len(alike), GRID - 2, GRID - 2), np.float32)
    looks = _agreement(contents.slopes[first], contents.slopes[second], inside, maps[alike])
    sure = np.flatnonzero(looks.scores >= SURE)
    return alike[sure], looks.at(sure)


def _look(contents: Contents, ones: Rows, others: Rows, maps: Floats) -> tuple[Rows, Looks]:
    coarse = alignment.template(contents.coarse[ones], alignment.COARSE_GRID)
    left, maps = alignment.coarsely(coarse, contents.coarse[others], maps)
    if not len(left):
        return left, together([])
    ones, others = ones[left], others[left]
    contents.refine(np.concatenate([ones, others]))
    fine = alignment.template(contents.fine[ones], alignment.FINE_GRID)
    aligned = alignment.finely(fine, contents.fine[others], maps)
    second, inside = alignment.read(contents.smooth[others], aligned, GRID)
    within = inside[:, 1:-1, 1:-1] * inside[:, 2:, 1:-1] * inside[:, :-2, 1:-1]
    within = within * inside[:, 1:-1, 2:] * inside[:, 1:-1, :-2]
    return left, _agreement(contents.slopes[ones], gradients(second), within, aligned)


def _agreement(first: Floats, second: Floats, within: Floats, maps: Floats) -> Looks:
    """Compare gradients, (m, 2, 48, 48) float32 each, where `within`, (m, 48, 48), is not 0."""
    both = _blocks((first * second).sum(axis=1) * within)
    one, other = (_blocks((each**2).sum(axis=1) * within) for each in (first, second))
    lengths = np.sqrt(one.sum(axis=1) * other.sum(axis=1) + 1.0)
    scores = np.clip(both.sum(axis=1) / lengths, 0.0, 1.0)
    structures = np.zeros(len(scores), np.float32)
    worth = np.flatnonzero(scores >= WORTH)
    if len(worth):
        area = _shared_area(one[worth], other[worth])
        structures[worth] = independent(first[worth], second[worth], within[worth], area)
    return Looks(scores, structures, maps)


def _shared_area(one: Floats, other: Floats) -> Floats:
    """Return over which share of the blocks two energies are spread, (m,) in 0..1.

    Noise of a level or less is no structure, however much of it there is.
    """
    structured = np.maximum(one, other) > _STRUCTURED * BLOCK**2
    one, other = one * structured, other * structured
    both = one.shape[1] * (one * other).sum(axis=1)
    found = one.sum(axis=1) * other.sum(axis=1) / np.maximum(both, 1e-6)
    return np.asarray(np.minimum(found, 1.0), np.float32)


def gradients(grays: Floats) -> Floats:
    """Return gradients of compressed magnitude, down and right, (m, 2, n - 2, n - 2)."""
    result = np.empty((len(grays), 2, grays.shape[1] - 2, grays.shape[2] - 2), np.float32)
    np.subtract(grays[:, 2:, 1:-1], grays[:, :-2, 1:-1], out=result[:, 0])
    np.subtract(grays[:, 1:-1, 2:], grays[:, 1:-1, :-2], out=result[:, 1])
    steepness = np.sqrt((result * result).sum(axis=1))
    result /= np.sqrt(steepness + _SOFTENING)[:, None]
    return result


def _blocks(cells: Floats) -> Floats:
    """Sum cells by blocks, (m, blocks) float32."""
    count, side, _ = cells.shape
    blocks = side // BLOCK
    return np.asarray(
        cells.reshape(count, blocks, BLOCK, blocks, BLOCK)
        .sum(axis=(2, 4))
        .reshape(count, blocks**2)
    )


def together(looks: list[Looks]) -> Looks:
    if not looks:
        none = np.zeros(0, np.float32)
        return Looks(none, none, np.zeros((0, 2, 3), np.float32))
    return Looks(
        np.concatenate([each.scores for each in looks]),
        np.concatenate([each.structures for each in looks]),
        np.concatenate([each.maps for each in looks]),
    )
