"""What a score means in an archive: how many of its unrelated pairs agree at least so well.

Two unrelated typed pages agree better than two holiday photos, so pairs are told apart by the
classes of their pictures. For each pair of classes the upper tail of the scores of unrelated pairs
is fitted: to a sample of pictures, each compared with all, and to what was measured beforehand,
which counts as so many observations and so decides where the sample is small.

The *strength* of a match is ``atanh(score)``, reduced where few blocks have structure. Tails of
strengths fall exponentially: a *scale* of strength more, e times fewer pairs. Knows no files.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx.fingerprints import GRAY_SIDE

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.floating[Any]]
Classes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
Stored = npt.NDArray[np.uint8]

CLASSES = ("detailed", "simple", "writing", "plain")
"""What :func:`classes` tells apart, by number."""
PAIRS = tuple(combinations_with_replacement(range(len(CLASSES)), 2))
"""Pairs of classes, the smaller number first; a model has a tail for each."""

FEW_BLOCKS = 8.0
"""With so many structured blocks a match has sqrt(1/2) of the strength it had with very many."""
EVIDENT = 1.5
"""Strength from which on the fit takes two pictures for the same one: a score of .93."""

_LEAST = 0.45  # strength at which tails begin at the earliest: below, the alignment drops pairs
_BEGIN = np.array([_LEAST])
_FITS = 5
_NONE = 0.1  # unrelated pairs expected in a sample from where on a pair is evident
_ENOUGH = 200.0  # unrelated pairs that a tail is to have, if it then begins high enough
_WEIGHT = 100.0  # pairs that what was measured beforehand counts for
_ROUNDS = 60
_SLOW = 0.35  # scale in which pairs of one family fall off, such as icons of a set
_TOP = 0.99995  # scores are cut off here: atanh(1) is infinite

_PRIORS: Mapping[tuple[int, int], tuple[float, float]] = {
    (0, 0): (3.5e-4, 0.060),
    (0, 1): (6e-4, 0.100),
    (0, 2): (1e-4, 0.085),
    (0, 3): (6e-4, 0.120),
    (1, 1): (1.2e-3, 0.125),
    (1, 2): (2e-4, 0.085),
    (1, 3): (1.3e-3, 0.160),
    (2, 2): (2e-3, 0.100),
    (2, 3): (6e-4, 0.115),
    (3, 3): (2.5e-3, 0.330),
}
"""Share of pairs from a strength of _LEAST on, and scale: what was known beforehand.

Measured on pairs from different sources among 10,200 pictures (1,000 photos of Caltech, Debian's
cliparts, icons, textures and screenshots, emoji), and on 300 made pages.
"""


@dataclass(frozen=True, slots=True)
class Tail:
    """How often unrelated pairs of two classes reach a strength.

    Attributes
    ----------
    floor : float
        The strength at which the tail begins.
    rate : float
        Unrelated pairs at least so strong, as a share of all pairs.
    scale : float
        Strength that makes them e times fewer.
    weight : float
        Pairs that rate and scale rest on, those known beforehand included.
    pairs : float
        Pairs that were compared for it.
    """

    floor: float
    rate: float
    scale: float
    weight: float
    pairs: float

    def rates(self, strengths: Floats) -> Floats:
        """Return the share of pairs at least so strong, (m,) float64.

        That is what is to be expected of an exponential tail whose scale is known from so many
        observations only: fewer make it heavier.
        """
        excess = np.maximum(strengths - self.floor, 0.0) / self.scale
        falling = -(self.weight + 1) * np.log1p(excess / self.weight)
        below = np.minimum(strengths - self.floor, 0.0) / self.scale
        return np.asarray(np.minimum(self.rate * np.exp(falling - below), 1.0), np.float64)

    def strength(self, rate: float) -> float:
        """Return the least strength that at most so large a share of pairs reaches."""
        wanted = math.log(max(rate, 1e-300) / self.rate)
        if wanted >= 0:
            return self.floor - wanted * self.scale
        return self.floor + self.scale * self.weight * math.expm1(-wanted / (self.weight + 1))


@dataclass(frozen=True, slots=True)
class Chance:
    """What was fitted for an archive.

    Attributes
    ----------
    pictures : int
        How many the archive had.
    shares : tuple of float
        The share of each class of :data:`CLASSES` in them.
    tails : tuple of Tail
        Of each of :data:`PAIRS`.
    """

    pictures: int
    shares: tuple[float, ...]
    tails: tuple[Tail, ...]

    def chance(
        self,
        scores: Numbers,
        structures: Numbers,
        overlaps: Numbers,
        classes_a: Classes,
        classes_b: Classes,
        *,
        pictures: int | None = None,
    ) -> Floats:
        """Return how many unrelated pairs of the archive are to be expected with a chance so small.

        So a limit on it is the expected number of false pairs, over all classes.

        Parameters
        ----------
        scores, structures, overlaps : (m,) float32
            As in :class:`annidx.search.refine.Looks`.
        classes_a, classes_b : (m,) int8
            Of the two pictures, from :func:`classes`.
        pictures : int, optional
            How many the archive has; by default as many as it was fitted for.

        Returns
        -------
        (m,) float64
        """
        rates, which = self._rates(scores, structures, overlaps, classes_a, classes_b)
        counts = self._counts(self.pictures if pictures is None else pictures)
        return self._of_all(counts[which] * rates, counts)

    def extrapolated(
        self,
        scores: Numbers,
        structures: Numbers,
        overlaps: Numbers,
        classes_a: Classes,
        classes_b: Classes,
    ) -> Flags:
        """Tell which matches are so good that less than one such pair was to be seen, (m,) bool."""
        rates, which = self._rates(scores, structures, overlaps, classes_a, classes_b)
        return np.asarray(rates * np.array([tail.pairs for tail in self.tails])[which] < 1.0)

    def score_at(
        self,
        chance: float,
        structures: float,
        class_a: int,
        class_b: int,
        *,
        pictures: int | None = None,
    ) -> float:
        """Return the least score whose chance is at most `chance`, which is > 0.

        Returns
        -------
        float
            0..1, inclusive; 0 where any score will do, inf where none will.
        """
        counts = self._counts(self.pictures if pictures is None else pictures)
        low, high = 0.0, float(counts.max())
        for _ in range(200):  # of chances, to the level in one class: halving a float's range
            middle = (low + high) / 2
            small = float(self._of_all(np.array([middle]), counts)[0]) <= chance
            low, high = (middle, high) if small else (low, middle)
        which = PAIRS.index((min(class_a, class_b), max(class_a, class_b)))
        if low >= counts[which]:
            return 0.0
        strength = self.tails[which].strength(low / float(counts[which]))
        reached = max(strength, 0.0) / max(float(_trust(np.float64(structures))), 1e-9)
        return math.tanh(reached) if reached <= math.atanh(_TOP) else math.inf

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain numbers and lists, for JSON."""
        return asdict(self)

    @classmethod
    def of_dict(cls, stored: Mapping[str, Any]) -> Chance:
        """Make it of what :meth:`as_dict` returned, possibly by way of JSON."""
        tails = tuple(Tail(**tail) for tail in stored["tails"])
        return cls(stored["pictures"], tuple(stored["shares"]), tails)

    def _rates(
        self,
        scores: Numbers,
        structures: Numbers,
        overlaps: Numbers,
        classes_a: Classes,
        classes_b: Classes,
    ) -> tuple[Floats, Rows]:
        which = pairs_of(classes_a, classes_b)
        reached = strengths(scores, structures, overlaps)
        every = np.stack([tail.rates(reached) for tail in self.tails])
        return every[which, np.arange(len(which))], which

    def _of_all(self, levels: Floats, counts: Floats) -> Floats:
        """Return how many to expect in all classes if each is cut where `levels` are in one."""
        at_most = counts * [min(float(tail.rates(_BEGIN)[0]), 1.0) for tail in self.tails]
        every = np.minimum(levels[:, None], at_most).sum(axis=1)
        return np.asarray(np.maximum(every, levels), np.float64)

    def _counts(self, pictures: int) -> Floats:
        """Return how many pairs an archive has of each of PAIRS."""
        share = self.shares
        mixed = [share[a] * share[b] * (1 if a == b else 2) for a, b in PAIRS]
        return np.array(mixed) * (pictures * (pictures - 1) / 2)


@dataclass(frozen=True, slots=True)
class Sample:
    """Matches of some pictures of an archive, each compared with all.

    Attributes
    ----------
    rows : (s,) intp
        The pictures that were sampled: evenly, or at random.
    classes : (s,) int8
        Theirs.
    ones : (m,) intp
        Of each match the sampled picture's row.
    others : (m,) intp
        The row of the other; what is not listed agreed less than anything that matters.
    scores, structures, overlaps : (m,) float32
        As in :class:`annidx.search.refine.Looks`.
    classes_one, classes_other : (m,) int8
        Of the two pictures.
    """

    rows: Rows
    classes: Classes
    ones: Rows
    others: Rows
    scores: Numbers
    structures: Numbers
    overlaps: Numbers
    classes_one: Classes
    classes_other: Classes


def fit(sample: Sample, pictures: int) -> Chance:
    """Fit the tails of unrelated pairs to a sample of an archive.

    Pictures that evidently show the same, and what hangs together by such, count as one: their
    pairs with each other are left out, and those with another picture share one pair's weight.
    What is left of true pairs, which reach all strengths about equally often, is told apart from
    the falling tail by expectation and maximisation.

    Parameters
    ----------
    sample : Sample
    pictures : int
        How many the archive has.
    """
    reached = strengths(sample.scores, sample.structures, sample.overlaps)
    which = pairs_of(sample.classes_one, sample.classes_other)
    ends = np.full(len(PAIRS), EVIDENT)
    for _ in range(_FITS):
        clusters = _Clusters.of(sample, reached >= ends[which])
        asked = np.bincount(sample.classes, clusters.shares, len(CLASSES)) * 1.0
        counted = np.bincount(sample.classes, minlength=len(CLASSES)) * 1.0
        shares = (counted + 0.5) / (len(sample.rows) + 2)
        there = shares * max(pictures - clusters.merged - 1, 1)
        apart = clusters.one != clusters.other
        tails = []
        for number, pairs in enumerate(_compared(asked, there)):
            mine = apart & (which == number)
            known, end = _PRIORS[PAIRS[number]], float(ends[number])
            tails.append(_tail(reached[mine], clusters.weights[mine], pairs, known, end))
        every = _compared(counted, shares * pictures)
        found = [
            tail.strength(_NONE / max(many, 1.0)) for tail, many in zip(tails, every, strict=True)
        ]
        ends = np.clip(found, _LEAST + 0.4, ends)
    return Chance(pictures, tuple(map(float, shares)), tuple(tails))


def _compared(asked: Numbers, there: Numbers) -> list[float]:
    """Return how many pairs of each of PAIRS there are between some pictures and others."""
    return [float(asked[a] * there[b] + (asked[b] * there[a] if a != b else 0)) for a, b in PAIRS]


@dataclass(frozen=True, slots=True)
class _Clusters:
    """What evidently hangs together, as labels of matches; and what that leaves them to count."""

    one: Rows
    other: Rows
    weights: Floats
    shares: Floats  # (s,) of each sampled picture in its cluster's sampled ones
    merged: int  # pictures that are known to be of an earlier one's cluster

    @classmethod
    def of(cls, sample: Sample, evident: Flags) -> _Clusters:
        every, at = np.unique(
            np.concatenate([sample.rows, sample.ones, sample.others]), return_inverse=True
        )
        count, sampled = len(sample.ones), len(sample.rows)
        rows, ones, others = np.split(at, [sampled, sampled + count])
        labels = _labels(len(every), ones[evident], others[evident])
        sizes = np.bincount(labels, minlength=len(every))
        asked = np.bincount(labels[rows], minlength=len(every))
        one, other = labels[ones], labels[others]
        weights = 1.0 / (asked[one] * sizes[other])
        merged = len(every) - int((sizes > 0).sum())
        return cls(one, other, weights, 1.0 / asked[labels[rows]], merged)


def _labels(count: int, ones: Rows, others: Rows) -> Rows:
    """Return the least member of each one's connected component, (count,) intp."""
    labels = np.arange(count)
    while True:
        least = np.minimum(labels[ones], labels[others])
        before = labels.copy()
        np.minimum.at(labels, before[ones], least)
        np.minimum.at(labels, before[others], least)
        labels = labels[labels]
        if np.array_equal(labels, before):
            return labels


def _tail(
    reached: Floats, weights: Floats, pairs: float, prior: tuple[float, float], end: float
) -> Tail:
    """Fit one tail: roughly first, and then from as high up as leaves it enough pairs."""
    squares = float((weights**2).sum())
    if squares:  # so many equal weights would vary as little
        factor = float(weights.sum()) / squares
        weights, pairs = weights * factor, pairs * factor
    rough = _fitted(reached, weights, pairs, prior, _LEAST, end)
    floor = min(max(rough.strength(_ENOUGH / max(pairs, 1.0)), _LEAST), end - 0.4)
    return _fitted(reached, weights, pairs, prior, floor, end) if floor > _LEAST else rough


def _fitted(
    reached: Floats,
    weights: Floats,
    pairs: float,
    prior: tuple[float, float],
    floor: float,
    end: float,
) -> Tail:
    known_rate, known_scale = prior
    known_rate *= math.exp((_LEAST - floor) / known_scale)
    beyond = (reached >= floor) & (reached < end)
    length, excess, weights = end - floor, reached[beyond] - floor, weights[beyond]
    total, known_mean = float(weights.sum()), _mean(known_scale, length)
    scale, parts, seen = known_scale, np.array([0.9, 0.05, 0.05]), 0.0
    for _ in range(_ROUNDS):
        falling = np.exp(-excess / scale) / (scale * -math.expm1(-length / scale))
        slow = np.exp(-excess / _SLOW) / (_SLOW * -math.expm1(-length / _SLOW))
        rising = 2 * excess / length**2
        every = np.stack([falling, slow, rising]) * parts[:, None]
        shares = weights * every / np.maximum(every.sum(axis=0), 1e-300)
        seen = float(shares[0].sum())
        mean = (float((shares[0] * excess).sum()) + _WEIGHT * known_mean) / (seen + _WEIGHT)
        scale = _scale(mean, length)
        if total:
            parts = np.maximum(shares.sum(axis=1) / total, 1e-9)
    rate = (seen + _WEIGHT) / (pairs + _WEIGHT / known_rate)
    return Tail(floor, max(rate, seen / max(pairs, 1.0)), scale, seen + _WEIGHT, pairs)


def _mean(scale: float, length: float) -> float:
    """Return the mean of an exponential distribution that is cut off at a length."""
    return scale - length / math.expm1(length / scale)


def _scale(mean: float, length: float) -> float:
    """Return the scale of such a distribution from its mean; at most ten lengths."""
    low, high = mean, 10 * length
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean(middle, length) < mean else (low, middle)
    return low


def classes(grays: Stored, thumbs: Stored) -> Classes:
    """Tell classes of pictures apart by what is stored of them.

    Parameters
    ----------
    grays : (n, 4096) uint8
    thumbs : (n, 1200) uint8

    Returns
    -------
    (n,) int8
        Numbers of :data:`CLASSES`. Information is bytes that the gray deflates to, at 32 levels.
        'detailed': of 1,100 and more, as most photos. 'simple': of less: drawings, icons, few
        things on even ground. 'writing': 40 % of the picture lie within 8 levels of one gray, and
        the rest is fine and faint. 'plain': of less than 450, or less than a quarter of 8 x 8
        blocks deviates by over 6 levels: unrelated ones may look the same; a square is a square.
    """
    del thumbs  # colour tells screenshots and drawings apart no better
    found = np.zeros(len(grays), np.int8)
    for start in range(0, len(grays), 256):
        part = slice(start, start + 256)
        found[part] = _classes(grays[part])
    return found


def _classes(grays: Stored) -> Classes:
    count = len(grays)
    planes = grays.reshape(count, GRAY_SIDE, GRAY_SIDE).astype(np.float32)
    blocks = planes.reshape(count, 8, 8, 8, 8).std(axis=(2, 4))
    within = np.cumsum(_histograms(grays), axis=1)
    ground = (within[:, 17:] - within[:, :-17]).max(axis=1) / GRAY_SIDE**2
    down, right = np.diff(planes, axis=1), np.diff(planes, axis=2)
    bent = np.abs(np.diff(down[:, :, 1:-1], axis=1) + np.diff(right[:, 1:-1], axis=2))
    steps = np.abs(down).mean(axis=(1, 2)) + np.abs(right).mean(axis=(1, 2)) + 1.0
    fine = bent.mean(axis=(1, 2)) / steps
    sizes = np.array([len(zlib.compress((gray >> 3).tobytes())) for gray in grays])
    result = np.where(sizes >= 1100, 0, 1)
    result[(ground >= 0.4) & (fine >= 1.3) & (planes.std(axis=(1, 2)) < 40)] = 2
    result[((blocks > 6).mean(axis=(1, 2)) < 0.25) | (sizes < 450)] = 3
    return result.astype(np.int8)


def _histograms(grays: Stored) -> Floats:
    """Return how often each level occurs, (n, 273), with 9 and 8 zeros before and after."""
    count = len(grays)
    at = np.arange(count)[:, None] * 273 + grays + 9
    return np.bincount(at.ravel(), minlength=count * 273).reshape(count, 273).astype(np.float64)


def pairs_of(classes_a: Classes, classes_b: Classes) -> Rows:
    """Return which of :data:`PAIRS` pairs are of, (m,) intp."""
    low, high = np.minimum(classes_a, classes_b), np.maximum(classes_a, classes_b)
    table = np.zeros((len(CLASSES), len(CLASSES)), np.intp)
    for number, (a, b) in enumerate(PAIRS):
        table[a, b] = number
    return np.asarray(table[low, high])


def strengths(scores: Numbers, structures: Numbers, overlaps: Numbers) -> Floats:
    """Return how strong matches are, (m,) float64, 0..5."""
    del overlaps  # what is not covered by the other picture has no structured blocks either
    cut = np.clip(np.asarray(scores, np.float64), 0.0, _TOP)
    return np.asarray(np.arctanh(cut) * _trust(np.asarray(structures, np.float64)))


def _trust(structures: Any) -> Any:
    return np.sqrt(structures / (structures + FEW_BLOCKS))
