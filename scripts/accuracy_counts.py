"""What a descriptor or a tool makes of all pairs of a set, counted: cutoffs, recall, precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scripts.accuracy_peers import Distance, Floats, Vectors, distances
from scripts.accuracy_truth import Truth

ONE_FALSE_IN = 10_000
"""Of the pairs under a cutoff that is precise enough: a precision of .9999."""
RATES = np.logspace(-8, -3, 51)
"""False-positive rates of a curve: false pairs within the cutoff of all false pairs."""
CELLS = 4_000_000
"""So many distances are in memory at a time."""


@dataclass(slots=True)
class Tally:
    """Distances of all true pairs, and of the nearest false ones.

    Attributes
    ----------
    true : (t,) float64
        Of the true pairs that are known, rising.
    edits : dict of str to (e,) float64
        Of the original to each edit of that name; inf where it was not found.
    values, counts : (v,) float64, (v,) int64
        Distances at which false pairs lie, rising, and how many.
    limit : float
        Up to here, inclusive, the false pairs are all there.
    all_true, all_false : int
        Pairs of the set.
    """

    true: Floats
    edits: Mapping[str, Floats]
    all_true: int
    all_false: int
    values: Floats = field(default_factory=lambda: np.zeros(0))
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    limit: float = np.inf

    def add_false(self, found: Floats, wanted: int, always: float) -> None:
        """Add distances of false pairs; what lies beyond the `wanted` nearest and `always` goes."""
        values, counts = np.unique(found[found <= self.limit], return_counts=True)
        every = np.concatenate([self.values, values])
        self.values, places = np.unique(every, return_inverse=True)
        weights = np.concatenate([self.counts, counts])
        self.counts = np.bincount(places, weights, len(self.values)).astype(np.int64)
        enough = int(np.searchsorted(np.cumsum(self.counts), wanted))
        if enough < len(self.values):
            self.limit = max(float(self.values[enough]), always)
            kept = self.values <= self.limit
            self.values, self.counts = self.values[kept], self.counts[kept]

    def within(self, cutoffs: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return how many true and false pairs lie at or under each cutoff."""
        sums = np.concatenate([[0], np.cumsum(self.counts)])
        true = np.searchsorted(self.true, cutoffs, "right").astype(np.int64)
        return true, sums[np.searchsorted(self.values, cutoffs, "right")]

    def at(self, cutoff: float) -> dict[str, Any]:
        """Return what an inclusive cutoff finds; its recall is the mean over edits."""
        true, false = (int(each[0]) for each in self.within(np.array([cutoff])))
        return {
            "cutoff": cutoff,
            "recall": mean(self.recall(cutoff)),
            "recall_true": true / self.all_true if self.all_true else None,
            "precision": true / (true + false) if true + false else None,
            "true_pairs": true,
            "false_pairs": false,
        }

    def recall(self, cutoff: float) -> dict[str, float]:
        """Return which share of each edit lies at or under a cutoff."""
        return {name: float(np.mean(apart <= cutoff)) for name, apart in self.edits.items()}

    def precise(self) -> float | None:
        """Return the largest distance at which one pair in 10,000 is false at most.

        All pairs at exactly that distance count. None when there is no such distance.
        """
        distances = np.union1d(self.true, self.values)
        distances = distances[distances <= self.limit]
        true, false = self.within(distances)
        enough = distances[false * (ONE_FALSE_IN - 1) <= true]
        return float(enough[-1]) if len(enough) else None

    def curve(self, rates: Floats = RATES) -> list[float | None]:
        """Return the recall at each false-positive rate: the cutoff lies under the next false pair.

        The recall is the mean over edits; of all true pairs where there are no edits. Where no
        false pair is known that is one too many, it is the recall at the limit.
        """
        sums = np.cumsum(self.counts)
        found: list[float | None] = []
        for rate in rates:
            beyond = int(np.searchsorted(sums, int(rate * self.all_false + 1e-9), "right"))
            known = beyond < len(sums)
            row = self.at(float(np.nextafter(self.values[beyond], -1) if known else self.limit))
            found.append(row["recall"] if self.edits else row["recall_true"])
        return found


def tally(vectors: Vectors, distance: Distance, truth: Truth, cutoffs: Sequence[float]) -> Tally:
    """Compare every picture with every other.

    Parameters
    ----------
    vectors : (n, d) int16
    distance : str
        How two of them are compared, see :func:`distances`.
    truth : Truth
        Of the n pictures.
    cutoffs : Sequence of float
        Up to the largest of them all false pairs are counted, too.
    """
    count = len(truth)
    wanted = max(int(RATES[-1] * truth.false), truth.true // (ONE_FALSE_IN - 1)) + 1
    edits = {
        name: np.array([distances(distance, vectors[[a]], vectors[[b]])[0, 0] for a, b in pairs])
        for name, pairs in truth.edits.items()
    }
    made = Tally(np.zeros(0), edits, truth.true, truth.false)
    true = []
    rows = max(1, CELLS // max(1, count))
    for start in range(0, count, rows):
        block = slice(start, start + rows)
        apart = distances(distance, vectors[block], vectors[start:])
        later = np.triu(np.ones(apart.shape, np.bool_), 1)
        same = truth.groups[block][:, None] == truth.groups[None, start:]
        true.append(apart[later & same])
        related = truth.related[
            (truth.related[:, 0] >= start) & (truth.related[:, 0] < start + rows)
        ]
        later[related[:, 0] - start, related[:, 1] - start] = False
        made.add_false(apart[later & ~same], wanted, max(cutoffs))
    made.true = np.sort(np.concatenate(true))
    return made


def suspects(
    vectors: Vectors, distance: Distance, truth: Truth, cutoff: float
) -> list[tuple[int, int]]:
    """Return false pairs of pictures that are no edits and lie within a cutoff.

    Where several descriptors agree on one, it is rather the truth that errs: photos have copies.
    """
    rows = np.array([at for at in range(len(truth)) if not truth.is_edit(at)], np.intp)
    found = []
    step = max(1, CELLS // max(1, len(rows)))
    for start in range(0, len(rows), step):
        near = distances(distance, vectors[rows[start : start + step]], vectors[rows]) <= cutoff
        for one, other in np.argwhere(np.triu(near, start + 1)).tolist():
            pair = int(rows[start + one]), int(rows[other])
            if truth.relation(*pair) == "false":
                found.append(pair)
    return found


def mean(shares: Mapping[str, float]) -> float | None:
    """Return the mean of the values, None of none."""
    return float(np.mean(list(shares.values()))) if shares else None
