"""Fitting the tails of unrelated pairs to a sample of an archive, in which some pairs are true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annidx.search.chance import CLASSES, PAIRS, PRIORS, Chance, Numbers, proofs, strengths
from annidx.search.classes import Classes, pairs_of
from annidx.search.clusters import Clusters, Rows
from annidx.search.tails import LEAST, SHORTEST, Floats, fitted

_EVIDENTS = (1.5, 2.0, 2.5, 3.0)  # proven by scores of .93, .97, .99, .997
_DENSE = 0.5  # share of its pairs that a large cluster is to hold
_FITS = 5
_NONE = 0.1  # unrelated pairs expected in a sample from where on a pair is evident


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
    scores, structures : (m,) float32
        As in :class:`annidx.search.refine.Looks`.
    distances : (m,) float64
        The first stage's.
    classes_one, classes_other : (m,) int8
        Of the two pictures.
    """

    rows: Rows
    classes: Classes
    ones: Rows
    others: Rows
    scores: Numbers
    structures: Numbers
    distances: Numbers
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
    which = pairs_of(sample.classes_one, sample.classes_other)
    proven = proofs(sample.scores, sample.structures, sample.distances, which)
    reached = strengths(proven, which)
    ends = strengths(np.full(len(PAIRS), _evident(sample, proven)), np.arange(len(PAIRS)))
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
            known, end = PRIORS[PAIRS[number]], float(ends[number])
            tails.append(fitted(reached[mine], clusters.weights[mine], pairs, known, end))
        every = _compared(counted, shares * pictures)
        found = [
            tail.strength(_NONE / max(many, 1.0)) for tail, many in zip(tails, every, strict=True)
        ]
        ends = np.clip(found, LEAST + 2 * SHORTEST, ends)
    return Chance(pictures, tuple(map(float, shares)), tuple(tails))


def _evident(sample: Sample, proven: Floats) -> float:
    """Return what a match proves from which on pictures may be taken for the same one.

    Copies of one picture agree with most of one another. Slides of one template hang together, too,
    but by chains: then more is asked.
    """
    for evident in _EVIDENTS[:-1]:
        linked = Clusters.of(sample.rows, sample.ones, sample.others, proven >= evident)
        if linked.density >= _DENSE:
            return evident
    return _EVIDENTS[-1]


def _compared(asked: Numbers, there: Numbers) -> list[float]:
    """Return how many pairs of each of PAIRS there are between some pictures and others."""
    return [float(asked[a] * there[b] + (asked[b] * there[a] if a != b else 0)) for a, b in PAIRS]
