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
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx.search.classes import CLASSES, PAIRS, Classes, classes, pairs_of
from annidx.search.clusters import Clusters, Flags, Rows
from annidx.search.tails import LEAST, SHORTEST, WEIGHT, Floats, Tail, fitted

__all__ = ["CLASSES", "PAIRS", "Chance", "Sample", "classes", "fit", "pairs_of", "strengths"]

Numbers = npt.NDArray[np.floating[Any]]

FEW_BLOCKS = 8.0
"""With so many structured blocks a match has sqrt(1/2) of the strength it had with very many."""

_BEGIN = np.array([LEAST])
_EVIDENTS = (1.5, 2.0, 2.5, 3.0)  # strengths of scores of .93, .97, .99, .997
_DENSE = 0.25  # share of its pairs that a large cluster is to hold
_FITS = 5
_NONE = 0.1  # unrelated pairs expected in a sample from where on a pair is evident
_TOP = 0.99995  # scores are cut off here: atanh(1) is infinite

_PRIORS: Mapping[tuple[int, int], tuple[float, float]] = {
    (0, 0): (3.5e-4, 0.060),
    (0, 1): (6e-4, 0.100),
    (0, 2): (2e-4, 0.100),
    (0, 3): (6e-4, 0.120),
    (1, 1): (1.2e-3, 0.125),
    (1, 2): (3e-4, 0.100),
    (1, 3): (1.3e-3, 0.160),
    (2, 2): (2e-3, 0.100),
    (2, 3): (6e-4, 0.115),
    (3, 3): (2.5e-3, 0.330),
}
"""Share of pairs from a strength of LEAST on, and scale: what was known beforehand.

Measured on pairs from different sources among 10,200 pictures (1,000 photos of Caltech, Debian's
cliparts, icons, textures and screenshots, emoji), and on 300 made pages.
"""


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

    @classmethod
    def beforehand(cls, found: Classes, pictures: int) -> Chance:
        """Return what is known of an archive before any of its pairs was compared.

        Parameters
        ----------
        found : (s,) int8
            Classes of some of its pictures.
        pictures : int
            How many it has.
        """
        counted = np.bincount(found, minlength=len(CLASSES))
        shares = (counted + 0.5) / (len(found) + 2)
        tails = tuple(Tail(LEAST, *_PRIORS[each], WEIGHT, 0.0) for each in PAIRS)
        return cls(pictures, tuple(map(float, shares)), tails)

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
    ends = np.full(len(PAIRS), _evident(sample, reached))
    for _ in range(_FITS):
        clusters = Clusters.of(sample.rows, sample.ones, sample.others, reached >= ends[which])
        asked = np.bincount(sample.classes, clusters.shares, len(CLASSES)) * 1.0
        counted = np.bincount(sample.classes, minlength=len(CLASSES)) * 1.0
        shares = (counted + 0.5) / (len(sample.rows) + 2)
        there = shares * max(pictures - clusters.merged - 1, 1)
        apart = clusters.one != clusters.other
        tails = []
        for number, pairs in enumerate(_compared(asked, there)):
            mine = apart & (which == number)
            known, end = _PRIORS[PAIRS[number]], float(ends[number])
            tails.append(fitted(reached[mine], clusters.weights[mine], pairs, known, end))
        every = _compared(counted, shares * pictures)
        found = [
            tail.strength(_NONE / max(many, 1.0)) for tail, many in zip(tails, every, strict=True)
        ]
        ends = np.clip(found, LEAST + 2 * SHORTEST, ends)
    return Chance(pictures, tuple(map(float, shares)), tuple(tails))


def _evident(sample: Sample, reached: Floats) -> float:
    """Return the strength from which on pictures may be taken for the same one.

    Copies of one picture agree with most of one another. Slides of one template hang together, too,
    but by chains: then more is asked.
    """
    for evident in _EVIDENTS[:-1]:
        if (
            Clusters.of(sample.rows, sample.ones, sample.others, reached >= evident).density
            >= _DENSE
        ):
            return evident
    return _EVIDENTS[-1]


def _compared(asked: Numbers, there: Numbers) -> list[float]:
    """Return how many pairs of each of PAIRS there are between some pictures and others."""
    return [float(asked[a] * there[b] + (asked[b] * there[a] if a != b else 0)) for a, b in PAIRS]


def strengths(scores: Numbers, structures: Numbers, overlaps: Numbers) -> Floats:
    """Return how strong matches are, (m,) float64, 0..5."""
    del overlaps  # what is not covered by the other picture has no structured blocks either
    cut = np.clip(np.asarray(scores, np.float64), 0.0, _TOP)
    return np.asarray(np.arctanh(cut) * _trust(np.asarray(structures, np.float64)))


def _trust(structures: Any) -> Any:
    return np.sqrt(structures / (structures + FEW_BLOCKS))
