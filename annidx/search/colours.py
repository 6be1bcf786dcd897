"""How the colours of two aligned pictures differ: by one change of all, or of a thing on white."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annidx.fingerprints import Floats
from annidx.search.tones import mean, robust

_UV = np.array([[-0.147, -0.289, 0.436], [0.615, -0.515, -0.100]], np.float32)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_GROUND_STEP = 10.0
_LEAST_CHROMA = 6.0


@dataclass(frozen=True, slots=True)
class Colours:
    """How colours differ, the second picture against the first.

    Attributes
    ----------
    chroma : (m, 2) float32
        Mean strength of colour in the first and in the second, in levels.
    saturation : (m,) float32
        Factor of the strength of colours; 1 when both are gray.
    hue : (m,) float32
        Degrees by which hues are turned.
    tint : (m, 2) float32
        What is added to all colours, in levels: towards blue, towards red.
    odd : (m,) float32
        Share of places whose colour such a change does not explain.
    ground : (m,) float32
        Share of the picture that is of the one light colour of its edges, in both; 0 when none is.
    ground_change, object_change : (m,) float32
        By how many levels the ground, the rest changes in the mean.
    """

    chroma: Floats
    saturation: Floats
    hue: Floats
    tint: Floats
    odd: Floats
    ground: Floats
    ground_change: Floats
    object_change: Floats


def coloured(first: Floats, second: Floats, inside: Floats) -> Colours:
    """Compare colours.

    Parameters
    ----------
    first, second : (m, p, 3) float32
        Colours of 0..255 at the same places.
    inside : (m, p) float32
        1 where both are known.
    """
    one, other = first @ _UV.T, second @ _UV.T
    luma = second @ _LUMA
    u, v = one[..., 0], one[..., 1]
    # (u, v) of the second = saturation x turn of (u, v) of the first + tint x (1, luma)
    zero, full = np.zeros_like(u), np.ones_like(u)
    level = luma / 128
    upper = np.stack([u, -v, 8 * full, zero, 8 * level, zero], axis=2)
    lower = np.stack([v, u, zero, 8 * full, zero, 8 * level], axis=2)
    basis = np.concatenate([upper, lower], axis=1)
    wanted = np.concatenate([other[..., 0], other[..., 1]], axis=1)
    found, _ = robust(basis, wanted, np.concatenate([inside, inside], axis=1))
    rest = wanted - (basis @ found[..., None])[..., 0]
    half = rest.shape[1] // 2
    apart = np.hypot(rest[:, :half], rest[:, half:])
    strength = np.stack(
        [mean(np.hypot(each[..., 0], each[..., 1]) * inside, inside) for each in (one, other)],
        axis=1,
    )
    least = 4.0 + 0.25 * np.maximum(strength[:, 0], strength[:, 1])
    odd = mean((apart > least[:, None]) * inside, inside)
    gray = strength.max(axis=1) < _LEAST_CHROMA / 2
    saturation = np.where(gray, 1.0, np.hypot(found[:, 0], found[:, 1]))
    hue = np.where(gray, 0.0, np.degrees(np.arctan2(found[:, 1], found[:, 0])))
    tint = _mean_each(other, inside) - _mean_each(one, inside) * saturation[:, None]
    return Colours(
        *(
            np.asarray(each, np.float32)
            for each in (strength, saturation, hue, tint, odd, *grounds(first, second, inside))
        )
    )


def _mean_each(values: Floats, weights: Floats) -> Floats:
    total = np.maximum(weights.sum(axis=1), 1e-6)[:, None]
    return np.asarray((values * weights[..., None]).sum(axis=1) / total, np.float32)


def grounds(first: Floats, second: Floats, inside: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the share of a plain light ground, and how much it and the rest change, (m,) each."""
    side = round(first.shape[1] ** 0.5)
    edge = np.zeros((side, side), np.bool_)
    edge[[0, -1]] = edge[:, [0, -1]] = True
    tone = np.median(first[:, edge.ravel()], axis=1)
    like = np.abs(first - tone[:, None]).max(axis=2) <= _GROUND_STEP
    near = like & (inside > 0)
    light = ((tone @ _LUMA) > 190) & (np.ptp(tone, axis=1) < 40)
    share = mean(near * inside, inside) * light * (like[:, edge.ravel()].mean(axis=1) > 0.6)
    ground, rest = near.astype(np.float32), (~near) * inside
    change = second - first
    moved = np.abs(_mean_each(change, ground)).max(axis=1)
    changed = np.abs(_mean_each(change, rest)).max(axis=1)
    return share, np.asarray(moved, np.float32), np.asarray(changed, np.float32)
