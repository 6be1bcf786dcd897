"""Rows that are the very same picture: one of them stands for all, so that copies cost nothing.

Knows no files and no descriptors: only a key of each row.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.int64]

NO_KEY = 0
_TOGETHER = 1 << 18


class Copies:
    """Which rows hold the same picture.

    Parameters
    ----------
    keys : (n,) int64
        Equal where pictures are; 0 says nothing, and such a row stands for itself.
    live : (n,) bool
        The others do not count.

    Attributes
    ----------
    keys : (n,) int64
    stands : (n,) intp
        The row that stands for each, the first of its copies; itself when it is not live.
    first : (n,) bool
        Which live rows stand for themselves.
    """

    def __init__(self, keys: Keys, live: Flags) -> None:
        self.keys = keys
        rows = np.flatnonzero(live)
        self._rows: Rows = rows[np.argsort(keys[rows], kind="stable")]
        self._keys = keys[self._rows]
        begins = np.ones(len(rows), np.bool_)
        begins[1:] = (self._keys[1:] != self._keys[:-1]) | (self._keys[1:] == NO_KEY)
        starts = np.flatnonzero(begins)
        self._sizes = np.diff(np.append(starts, len(rows)))
        self._starts = np.zeros(len(keys), np.intp)  # by leader
        self._starts[self._rows[starts]] = starts
        self._counts = np.zeros(len(keys), np.intp)
        self._counts[self._rows[starts]] = self._sizes
        self.stands: Rows = np.arange(len(keys))
        self.stands[self._rows] = np.repeat(self._rows[starts], self._sizes)
        self.first = np.zeros(len(keys), np.bool_)
        self.first[self._rows[starts]] = True

    def only(self, live: Flags) -> Copies:
        """Return the same of fewer rows."""
        return Copies(self.keys, live)

    def holding(self, keys: Keys) -> Rows:
        """Return which row stands for all with a key, (m,) intp; -1 for none."""
        if not len(self._keys):
            return np.full(len(keys), -1, np.intp)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        there = (self._keys[at] == keys) & (keys != NO_KEY)
        return np.where(there, self._rows[at], -1)

    def spread(self, leaders: Rows) -> tuple[Rows, Rows]:
        """Return all rows that some stand for: numbers into `leaders`, and the rows, (m,) each."""
        counts = self._counts[leaders]
        at = np.repeat(np.arange(len(leaders)), counts)
        within = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
        return at, self._rows[self._starts[leaders][at] + within]

    def pairs(self) -> Iterator[tuple[Rows, Rows]]:
        """Yield all pairs of copies as (lower row, higher row), (m,) each, some at a time."""
        ends = np.repeat(np.cumsum(self._sizes), self._sizes)
        left, held, apart = np.flatnonzero(np.repeat(self._sizes, self._sizes) > 1), [], 0
        while len(left):
            apart += 1
            left = left[left + apart < ends[left]]
            held.append((self._rows[left], self._rows[left + apart]))
            if sum(len(one) for one, _ in held) >= _TOGETHER or not len(left):
                one, other = (np.concatenate(each) for each in zip(*held, strict=True))
                held = []
                yield one, other
