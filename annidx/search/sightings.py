"""What was seen of pairs of pictures that were found by fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from annidx.fingerprints import TURNS, WHOLE, Floats, turn_map
from annidx.search import refine
from annidx.search.alignment import inverse
from annidx.search.refine import Looks
from annidx.search.vectors import Flags, Rows

_TRANSFORMS = (
    *("none", "flip-horizontal", "flip-vertical", "rotate-180"),
    *("transpose", "rotate-90", "rotate-270", "transverse"),
)
"""What each turn of :func:`annidx.fingerprints.turn_map` is called."""


@dataclass(frozen=True, slots=True)
class Sightings:
    """Pictures that may match, each pair once, in no particular order.

    Attributes
    ----------
    one, other : (m,) intp
        Rows; `one` may count queries instead.
    distances : (m,) float64
        Of the nearest variant and view: the first stage's.
    maps : (m, 2, 3) float32
        Where points of `other` (y, x in 0..1 of its frame) lie in `one`.
    looks : Looks or None
        The second look's, once there was one; its maps are of the contents, other to one.
    extrapolated : (m,) bool or None
        Which agree so well that what chance says of them goes beyond what was measured.
    """

    one: Rows
    other: Rows
    distances: npt.NDArray[np.float64]
    maps: Floats
    looks: Looks | None = None
    extrapolated: Flags | None = None

    def __len__(self) -> int:
        return len(self.one)

    def transforms(self) -> list[str]:
        """Return how each `one` has to be turned to lie as `other` does; see transforms.NAMES."""
        linear = self.maps[:, :, :2] / np.linalg.norm(self.maps[:, :, :2], axis=1, keepdims=True)
        turns = np.stack([turn_map(turn)[:, :2] for turn in range(TURNS)])
        nearest = np.einsum("mij,tij->mt", linear, turns).argmax(axis=1)
        return [_TRANSFORMS[turn] for turn in nearest]

    @property
    def scores(self) -> Floats:
        """How well the details agree, (m,) float32 in 0..1."""
        return np.zeros(len(self), np.float32) if self.looks is None else self.looks.scores

    def swapped(self, which: Flags) -> Sightings:
        """Return the same pairs, some of them the other way round."""
        one, other = (
            np.where(which, *each) for each in ((self.other, self.one), (self.one, self.other))
        )
        maps, looks = self.maps.copy(), self.looks
        maps[which] = inverse(maps[which])
        if looks is not None:
            turned = looks.maps.copy()
            turned[which] = inverse(turned[which])
            looks = replace(looks, maps=turned)
        return Sightings(one, other, self.distances, maps, looks, self.extrapolated)

    def asked_as(self, row: int) -> Sightings:
        """Return the same pairs with that row as `one` of all of them."""
        return self.swapped(self.one != row)

    def where(self, keep: Flags | Rows) -> Sightings:
        """Return some of them."""
        looks = None if self.looks is None else self.looks.at(keep)
        beyond = None if self.extrapolated is None else self.extrapolated[keep]
        return Sightings(
            *(self.one[keep], self.other[keep], self.distances[keep], self.maps[keep]),
            looks,
            beyond,
        )


def equal(one: Rows, other: Rows) -> Sightings:
    """Return pairs of the very same picture: nothing between them, and all of it agrees."""
    count = len(one)
    whole = np.ascontiguousarray(np.broadcast_to(WHOLE, (count, 2, 3)))
    ones = np.ones(count, np.float32)
    return Sightings(one, other, np.zeros(count), whole, Looks(ones, 64 * ones, whole))


def none() -> Sightings:
    """Return no sightings."""
    empty = np.zeros(0, np.intp)
    return Sightings(
        empty, empty, np.zeros(0), np.zeros((0, 2, 3), np.float32), refine.together([])
    )


def together(parts: Sequence[Sightings]) -> Sightings:
    """Return several as one; looks, and what is extrapolated, only if all have them."""
    looks = [each.looks for each in parts if each.looks is not None]
    beyond = [each.extrapolated for each in parts if each.extrapolated is not None]
    return Sightings(
        np.concatenate([each.one for each in parts]),
        np.concatenate([each.other for each in parts]),
        np.concatenate([each.distances for each in parts]),
        np.concatenate([each.maps for each in parts]),
        refine.together(looks) if len(looks) == len(parts) else None,
        np.concatenate(beyond) if len(beyond) == len(parts) else None,
    )
