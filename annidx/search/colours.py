"""How the colours of two aligned pictures differ: by one change of all, or of a thing on white."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annidx.fingerprints import Floats
from annidx.search.alignment import Flags
from annidx.search.tones import mean, robust, total

_UV = np.array([[-0.147, -0.289, 0.436], [0.615, -0.515, -0.100]], np.float32)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LEAST_CHROMA, _LEAST_MEAN = 3.0, 0.5
"""Levels below which nothing is said about hue: of what stands on a plain ground, of all."""


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
    far : (m,) float32
        By how many times what counts as odd the oddest place is off.
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
    far: Floats
    ground: Floats
    ground_change: Floats
    object_change: Floats


def coloured(first: Floats, second: Floats, inside: Floats, ground: Floats) -> Colours:
    """Compare colours.

    Parameters
    ----------
    first, second : (m, n, n, 3) float32
        Colours of 0..255 at the same places.
    inside : (m, n, n) float32
        1 where both are known.
    ground : (m, n, n) float32
        1 where the first is of the one light colour of its edges.
    """
    first, second = _averaged(first), _averaged(second)
    inside = (_averaged(inside[..., None])[..., 0] > 0.99).astype(np.float32)
    ground = _averaged(ground[..., None])[..., 0]
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
    share = 1 - mean(ground * inside, inside)
    gray = strength.max(axis=1) < np.maximum(_LEAST_CHROMA * share, _LEAST_MEAN)
    saturation = np.where(gray, 1.0, np.hypot(found[:, 0], found[:, 1]))
    hue = np.where(gray, 0.0, np.degrees(np.arctan2(found[:, 1], found[:, 0])))
    turned = _turned(_mean_each(one, inside), found, gray)
    tint = _mean_each(other, inside) - turned
    far = (apart / least[:, None] * inside).max(axis=1)
    grounds = _grounds(second - first, inside, ground)
    values = strength, saturation, hue, tint, odd, far, *grounds
    return Colours(*(np.asarray(each, np.float32) for each in values))


def _turned(colours: Floats, found: Floats, gray: Flags) -> Floats:
    """Return colours (u, v), saturated and turned as was found; as they are where all is gray."""
    a, b = np.where(gray, 1.0, found[:, 0]), np.where(gray, 0.0, found[:, 1])
    u, v = colours[:, 0], colours[:, 1]
    return np.asarray(np.stack([a * u - b * v, b * u + a * v], axis=1), np.float32)


def _mean_each(values: Floats, weights: Floats) -> Floats:
    total = np.maximum(weights.sum(axis=1), 1e-6)[:, None]
    return np.asarray((values * weights[..., None]).sum(axis=1) / total, np.float32)


def _grounds(change: Floats, inside: Floats, ground: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the share of a plain light ground, and how much it and the rest change, (m,) each.

    What stands on it is taken with the cells around, into which it may have been blurred.
    """
    pure = inside * (ground > 0.99)
    thing = inside * (ground <= 0.99)
    moved = np.abs(_mean_each(change, pure)).max(axis=1)
    area = np.maximum(total(inside * (1 - ground)), 1e-6)
    changed = np.abs(_mean_each(change, thing)).max(axis=1) * total(thing) / area
    return (
        mean(ground * inside, inside),
        np.asarray(moved, np.float32),
        np.asarray(changed, np.float32),
    )


def _averaged(cells: Floats) -> Floats:
    """Return means of 2 x 2 cells, (m, n * n / 4, k) float32."""
    count, side, _, bands = cells.shape
    half = side // 2
    found = cells[:, ::2, ::2] + cells[:, ::2, 1::2] + cells[:, 1::2, ::2] + cells[:, 1::2, 1::2]
    return np.asarray(found.reshape(count, half * half, bands) / 4, np.float32)
