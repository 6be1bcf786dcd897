"""Which pairs of rows were looked at already, from the side of the one that was asked earlier."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from annidx.search.sightings import Sightings
from annidx.search.vectors import Flags, Rows

NEARER = 0.005
"""A pair that is nearer by so much from the other side is worth another look: rounded vectors of
the same two views differ by less."""
_ROOM = 1 << 16


class SeenBefore:
    """Pairs that were looked at, 13 bytes each.

    Parameters
    ----------
    rows : int
        How many rows there are.
    """

    def __init__(self, rows: int) -> None:
        self._rows, self._count = rows, 0
        # One ascending array: rows are asked in ascending order.
        self._keys = np.zeros(_ROOM, np.int64)
        self._distances = np.zeros(_ROOM, np.float32)
        self._matched = np.zeros(_ROOM, np.bool_)

    def add(self, asked: Rows, looked: Sightings, matched: Sightings) -> None:
        """Add pairs of rows that are higher than all before; `one` counts `asked`, ascending."""
        keys = asked[looked.one].astype(np.int64) * self._rows + looked.other
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        there = asked[matched.one].astype(np.int64) * self._rows + matched.other
        stop = self._count + len(keys)
        self._make_room(stop)
        part = slice(self._count, stop)
        self._keys[part], self._distances[part] = keys, looked.distances[order]
        self._matched[part] = np.isin(keys, there)
        self._count = stop

    def knows(
        self, asked: Rows, others: Rows, distances: npt.NDArray[np.float64]
    ) -> tuple[Flags, Flags]:
        """Tell of pairs which were looked at from the other side, about as near; and matched."""
        keys, held = others.astype(np.int64) * self._rows + asked, self._keys[: self._count]
        if not self._count:
            return np.zeros(len(keys), np.bool_), np.zeros(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(held, keys), self._count - 1)
        known = (held[at] == keys) & (self._distances[at] <= distances + NEARER)
        return known, self._matched[at]

    def _make_room(self, count: int) -> None:
        room = len(self._keys)
        while room < count:
            room *= 2
        if room > len(self._keys):
            self._keys = np.resize(self._keys, room)
            self._distances = np.resize(self._distances, room)
            self._matched = np.resize(self._matched, room)
