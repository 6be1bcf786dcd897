"""What a score means in an archive: how many of its unrelated pairs agree at least so well.

Two unrelated typed pages agree better than two holiday photos, so pairs are told apart by the
classes of their pictures. For each pair of classes the upper tail of the scores of unrelated pairs
is fitted: to a sample of pictures, each compared with all, and to what was measured beforehand,
which counts as so many observations and so decides where the sample is small.

What a match *proves* is ``atanh(score)``, more where the first stage found the pictures near, and
reduced where little in them is independent. Its *strength* is that, stretched so that tails of
strengths fall exponentially: a *scale* of strength more, e times fewer pairs. Knows no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx.search.classes import CLASSES, PAIRS, Classes, classes, pairs_of
from annidx.search.clusters import Flags, Rows
from annidx.search.tails import LEAST, WEIGHT, Floats, Tail

__all__ = ["CLASSES", "PAIRS", "Chance", "classes", "pairs_of", "proofs", "strengths"]

Numbers = npt.NDArray[np.floating[Any]]

FEW = 30.0
"""With so many independent values a match proves sqrt(1/2) of what it would with very many."""

NEARNESS = np.array([{(0, 0): 0.3, (1, 1): 0.6}.get(pair, 1.0) for pair in PAIRS])
"""What a match of PAIRS proves the more for each unit of distance that the pictures are nearer.

Distances tell of colours and of the whole picture, what scores know nothing of. The more details
agree, the less it adds, and the more it takes from crops, which are far and match well: so it is
weak between detailed pictures. Slides of one template are near, too."""
_FAR = 0.6  # a distance that proves nothing: of 10 unrelated pairs that match, 9 are farther apart

_BENDS = {
    (1, 3): 1.0,
    (3, 3): 1.0,
    (0, 0): 2.0,
    (1, 1): 1.75,
    (1, 2): 2.0,
    (2, 2): 2.0,
    (2, 3): 2.0,
}
BENDS = np.array([_BENDS.get(pair, 1.5) for pair in PAIRS])
"""Strengths of PAIRS are such powers of what matches prove. Between shapes on even ground, which
may be the same ones, tails of that fall exponentially; in all else many independent details would
have to agree by chance, and tails fall faster: of detailed pictures, and of writing with others, as
those of a normal distribution. Where 100, 30, 10 and 3 pairs of 14,572 pictures were observed to
agree as well, 98, 31, 9 and 5 of detailed ones were predicted, 102, 40, 13 and 3 of simple ones,
64, 24, 6 and 3 of plain ones."""

_BEGIN = np.array([LEAST])
_TOP = 0.99995  # scores are cut off here: atanh(1) is infinite

PRIORS: Mapping[tuple[int, int], tuple[float, float]] = {
    (0, 0): (1.8e-5, 0.160),
    (0, 1): (5.0e-5, 0.207),
    (0, 2): (3.5e-6, 0.318),
    (0, 3): (5.8e-5, 0.227),
    (1, 1): (1.0e-4, 0.282),
    (1, 2): (5.8e-6, 0.381),
    (1, 3): (1.2e-4, 0.171),
    (2, 2): (1.0e-4, 0.225),
    (2, 3): (9.7e-6, 0.296),
    (3, 3): (4.1e-4, 0.220),
}
"""Share of pairs from a strength of LEAST on, and scale: what was known beforehand.

Measured by scripts/calibrate_chance.py on pairs from different sources among 14,572 pictures (1,900
photos, Debian's cliparts, icons, textures and screenshots, emoji), and on made pages. Of
detailed and simple ones without the pairs that show one thing after all (maps of the world,
planets, a house drawn twice): with them the scale of detailed ones is .346. Of writing the larger
scale of both sets.
"""


VERSION = 2
"""Of what tails are of: raised whenever the same match would have another strength."""


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
        tails = tuple(Tail(LEAST, *PRIORS[each], WEIGHT, 0.0) for each in PAIRS)
        return cls(pictures, tuple(map(float, shares)), tails)

    def chance(
        self,
        scores: Numbers,
        structures: Numbers,
        distances: Numbers,
        classes_a: Classes,
        classes_b: Classes,
        *,
        pictures: int | None = None,
    ) -> Floats:
        """Return how many unrelated pairs of the archive are to be expected with a chance so small.

        So a limit on it is the expected number of false pairs, over all classes.

        Parameters
        ----------
        scores, structures : (m,) float32
            As in :class:`annidx.search.refine.Looks`.
        distances : (m,) float64
            The first stage's, 0..1; see :class:`annidx.search.sightings.Sightings`.
        classes_a, classes_b : (m,) int8
            Of the two pictures, from :func:`classes`.
        pictures : int, optional
            How many the archive has; by default as many as it was fitted for.

        Returns
        -------
        (m,) float64
        """
        rates, which = self._rates(scores, structures, distances, classes_a, classes_b)
        counts = self._counts(self.pictures if pictures is None else pictures)
        return self._of_all(counts[which] * rates, counts)

    def extrapolated(
        self,
        scores: Numbers,
        structures: Numbers,
        distances: Numbers,
        classes_a: Classes,
        classes_b: Classes,
    ) -> Flags:
        """Tell which matches are so good that less than one such pair was to be seen, (m,) bool."""
        rates, which = self._rates(scores, structures, distances, classes_a, classes_b)
        return np.asarray(rates * np.array([tail.pairs for tail in self.tails])[which] < 1.0)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain numbers and lists, for JSON."""
        tails = [asdict(tail) for tail in self.tails]
        return {
            "version": VERSION,
            "pictures": self.pictures,
            "shares": list(self.shares),
            "tails": tails,
        }

    @classmethod
    def of_dict(cls, stored: Mapping[str, Any] | None) -> Chance | None:
        """Make it of what :meth:`as_dict` returned, possibly by way of JSON; of no other version.

        Returns
        -------
        Chance or None
            None when there is nothing, or another version stored it.
        """
        if stored is None or stored.get("version") != VERSION:
            return None
        tails = tuple(Tail(**tail) for tail in stored["tails"])
        return cls(stored["pictures"], tuple(stored["shares"]), tails)

    def _rates(
        self,
        scores: Numbers,
        structures: Numbers,
        distances: Numbers,
        classes_a: Classes,
        classes_b: Classes,
    ) -> tuple[Floats, Rows]:
        which = pairs_of(classes_a, classes_b)
        reached = strengths(proofs(scores, structures, distances, which), which)
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


def proofs(scores: Numbers, structures: Numbers, distances: Numbers, which: Rows) -> Floats:
    """Return what matches prove, (m,) float64, 0..6, by which of PAIRS each is.

    Nothing is proven where nothing has structure, however near the pictures are: all blank ones
    are.
    """
    cut = np.clip(np.asarray(scores, np.float64), 0.0, _TOP)
    nearer = _FAR - np.asarray(distances, np.float64)
    proven = np.maximum(np.arctanh(cut) + NEARNESS[which] * nearer, 0.0)
    count = np.asarray(structures, np.float64)
    return np.asarray(proven * np.sqrt(count / (count + FEW)))


def strengths(proven: Floats, which: Rows) -> Floats:
    """Return the strengths of matches that prove so much, (m,) float64, by which of PAIRS each is.

    LEAST stays what it is.
    """
    return np.asarray(LEAST * (proven / LEAST) ** BENDS[which])
