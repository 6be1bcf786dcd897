"""How often unrelated pairs are how strong: a tail that falls exponentially, and fitting it.

Knows nothing of pictures: only strengths of pairs, some of which are no unrelated ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEAST = 0.55
"""Strength at which tails begin at the earliest: that of a score of .5; below, none is told."""
SHORTEST = 0.2
"""A tail is fitted over so much strength at least."""

_STEP = 0.1
_ENOUGH = 400.0  # unrelated pairs that a tail is to have, if it then begins high enough
WEIGHT = 100.0
"""Pairs that the scale that was measured beforehand counts for."""
OFTEN = 10.0
"""Pairs that the rate does: how often pairs match differs more between archives than how well."""
_ROUNDS = 60
_SURE = 2.0  # standard deviations of a count
_SLOW = 2.0  # known scales in which pairs of one family fall off, such as icons of a set


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
        """Return the share of pairs at least so strong, (m,) float64; 1 below LEAST.

        That is what is to be expected of an exponential tail whose scale is known from so many
        observations only: fewer make it heavier.
        """
        excess = np.maximum(strengths - self.floor, 0.0) / self.scale
        falling = -(self.weight + 1) * np.log1p(excess / self.weight)
        below = np.minimum(strengths - self.floor, 0.0) / self.scale
        found = np.minimum(self.rate * np.exp(falling - below), 1.0)
        # Weaker ones were never counted, and of smooth pictures there are many.
        return np.asarray(np.where(strengths < LEAST, 1.0, found), np.float64)

    def strength(self, rate: float) -> float:
        """Return the least strength that at most so large a share of pairs reaches."""
        wanted = math.log(max(rate, 1e-300) / self.rate)
        if wanted >= 0:
            return self.floor - wanted * self.scale
        return self.floor + self.scale * self.weight * math.expm1(-wanted / (self.weight + 1))


def fitted(
    reached: Floats, weights: Floats, pairs: float, prior: tuple[float, float], end: float
) -> Tail:
    """Fit one tail, from as high up as leaves it enough pairs."""
    squares = float((weights**2).sum())
    if squares:  # so many equal weights would vary as little
        factor = float(weights.sum()) / squares
        weights, pairs = weights * factor, pairs * factor
    best = _fitted(reached, weights, pairs, prior, LEAST, end)
    for floor in np.arange(LEAST + _STEP, end - SHORTEST, _STEP).tolist():
        if float(weights[(reached >= floor) & (reached < end)].sum()) < _ENOUGH:
            break
        higher = _fitted(reached, weights, pairs, prior, floor, end)
        if higher.weight >= WEIGHT + _ENOUGH:
            best = higher
    return best


def _fitted(
    reached: Floats,
    weights: Floats,
    pairs: float,
    prior: tuple[float, float],
    floor: float,
    end: float,
) -> Tail:
    known_rate, known_scale = prior
    known_rate *= math.exp((LEAST - floor) / known_scale)
    beyond = (reached >= floor) & (reached < end)
    length, excess, weights = end - floor, reached[beyond] - floor, weights[beyond]
    total, known_mean = float(weights.sum()), _mean(known_scale, length)
    scale, parts, seen = known_scale, np.array([0.9, 0.05, 0.05]), 0.0
    slower = _SLOW * known_scale
    for _ in range(_ROUNDS):
        falling = np.exp(-excess / scale) / (scale * -math.expm1(-length / scale))
        slow = np.exp(-excess / slower) / (slower * -math.expm1(-length / slower))
        rising = 2 * excess / length**2
        every = np.stack([falling, slow, rising]) * parts[:, None]
        shares = weights * every / np.maximum(every.sum(axis=0), 1e-300)
        seen = float(shares[0].sum())
        mean = (float((shares[0] * excess).sum()) + WEIGHT * known_mean) / (seen + WEIGHT)
        scale = scale_of(mean, length)
        if total:
            parts = np.maximum(shares.sum(axis=1) / total, 1e-9)
    rate = (seen + OFTEN) / (pairs + OFTEN / known_rate)
    # What few pairs show counts against the known rate only as far as it is beyond doubt.
    sure = max(seen - _SURE * math.sqrt(seen), 0.0) / max(pairs, 1.0)
    return Tail(floor, max(rate, sure), scale, seen + WEIGHT, pairs)


def _mean(scale: float, length: float) -> float:
    """Return the mean of an exponential distribution that is cut off at a length."""
    return scale - length / math.expm1(length / scale)


def scale_of(mean: float, length: float) -> float:
    """Return the scale of such a distribution from its mean; at most ten lengths."""
    low, high = mean, 10 * length
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean(middle, length) < mean else (low, middle)
    return low
